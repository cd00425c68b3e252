"""
Somebody sets the clock that a storage goes by: what comes early, what late, and whose word counts all the same.

It is set by an hour, so that nothing depends on how fast a machine is.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from chrono_async import Clock, InstanceInfo, LeasingStorage
from chrono_async.storage import Early, Held, Release, SettleVerdict

from ._contract_steps import MINUTE, SettableClock, Steps, job

_HOUR = timedelta(hours=1)
_ANY_TIME = datetime(2001, 9, 9, tzinfo=UTC)


class SetClocks(Steps):
    """What a set clock changes, and what it does not."""

    shortens_leases: ClassVar[bool] = False
    """True for storages whose heartbeat shortens leases that have become longer because the clock was set back."""

    @pytest.fixture
    def settable(self, clock: Clock) -> SettableClock:
        """The clock, if it is one that can be set."""
        if not isinstance(clock, SettableClock):
            pytest.skip("this storage's clock is not ours to set")
        return clock

    async def _due(self, leasing: LeasingStorage, ahead: timedelta) -> list[str]:
        """Return what comes due by the storage's clock: the asker's own does not matter."""
        return [due.job_id for due in (await leasing.due(_ANY_TIME, _ANY_TIME + ahead)).due]

    async def test_jobs_are_due_by_the_clock_of_the_storage(
        self, leasing: LeasingStorage, settable: SettableClock, now: datetime
    ) -> None:
        """Early by as much as that is set forward, late by as much as it is set back."""
        await leasing.register(job("a", now + _HOUR / 2))
        early = await self.claim_due(leasing, "a")
        assert isinstance(early, Early)
        assert MINUTE < early.by <= _HOUR / 2
        settable.step(-_HOUR)
        assert await self._due(leasing, _HOUR) == []
        early = await self.claim_due(leasing, "a")
        assert isinstance(early, Early)
        assert early.by > _HOUR
        settable.step(2 * _HOUR)
        assert await self._due(leasing, MINUTE) == ["a"]
        await self.claimed(leasing, "a")

    async def test_a_step_of_the_wall_clock_moves_no_lease(
        self, leasing: LeasingStorage, settable: SettableClock, now: datetime, ttl: timedelta
    ) -> None:
        """Leases end by a clock that does not step."""
        if not self.leases_by_boot_clock:
            pytest.skip("this storage's leases end by the clock that is set")
        await leasing.register(job("a", now))
        await self.claimed(leasing, "a", ttl=ttl)
        settable.step(_HOUR)
        assert isinstance(await self.claim_due(leasing, "a", owner="you/1", ttl=ttl, next_run=now), Held)

    async def test_when_it_is_set_forward_leases_end_early_and_only_the_later_claim_settles(
        self, leasing: LeasingStorage, settable: SettableClock, now: datetime
    ) -> None:
        """The first run may be going still; its token is the smaller one."""
        if self.leases_by_boot_clock:
            pytest.skip("this storage's leases end by a clock that is not set")
        await leasing.register(job("a", now))
        first = await self.claimed(leasing, "a")
        assert isinstance(await self.claim_due(leasing, "a", owner="you/1"), Held)
        settable.step(_HOUR)
        second = await self.claimed(leasing, "a", owner="you/1")
        assert (second.attempt, second.lease.token > first.lease.token) == (2, True)
        assert (await self.settle(leasing, first, now, now + MINUTE)).verdict is SettleVerdict.STALE
        assert (await self.settle(leasing, second, now, now + MINUTE)).verdict is SettleVerdict.DONE
        assert (await leasing.get_job("a")).run_count == 1

    async def test_when_it_is_set_back_leases_last_longer_until_an_instance_gives_a_sign_of_life(
        self, leasing: LeasingStorage, settable: SettableClock, now: datetime
    ) -> None:
        """Then they end within their length from that on; else a dead one's would hold its job for an hour more."""
        if not self.shortens_leases:
            pytest.skip("this storage does not say that it shortens leases")
        await leasing.register(job("a", now - 2 * _HOUR))
        await leasing.heartbeat(InstanceInfo("me", now, now))
        await self.claimed(leasing, "a", owner="dead/1")
        settable.step(-_HOUR)
        assert await self._due(leasing, _HOUR) == []
        assert await self._due(leasing, _HOUR + 2 * MINUTE) == ["a"]
        await leasing.heartbeat(InstanceInfo("me", now, now))
        assert await self._due(leasing, 2 * MINUTE) == ["a"]

    async def test_tokens_grow_whatever_the_clock_does(
        self, leasing: LeasingStorage, settable: SettableClock, now: datetime
    ) -> None:
        """They are at least the storage's time in microseconds, and at least one more than the last."""
        fire_time, tokens = now - 9 * _HOUR, []
        await leasing.register(job("a", fire_time))
        for n, by in enumerate((0, 1, -2, 1, 1)):
            settable.step(by * _HOUR)
            least = settable.now().timestamp() * 1e6
            granted = await self.claimed(leasing, "a", owner=f"me/{n}")
            assert granted.lease.token >= int(least)
            await self.settle(leasing, granted, fire_time, fire_time := fire_time + MINUTE)
            tokens.append(granted.lease.token)
        assert tokens == sorted(set(tokens))
        assert (await leasing.get_job("a")).run_count == 5

    async def test_tokens_and_revisions_grow_when_the_clock_goes_back(
        self, leasing: LeasingStorage, settable: SettableClock, now: datetime
    ) -> None:
        """From claim to claim, from life to life."""
        tokens, revisions = [], []
        for _ in range(3):
            revisions.append((await leasing.register(job("a", now - 9 * _HOUR))).record.revision)
            for _ in range(2):
                granted = await self.claimed(leasing, "a", fire_time=now - 9 * _HOUR)
                tokens.append(granted.lease.token)
                await leasing.release([Release(granted.lease)])
                settable.step(-_HOUR)
            await leasing.delete_job("a")
        assert tokens == sorted(set(tokens))
        assert revisions == sorted(set(revisions))
