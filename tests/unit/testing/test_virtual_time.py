"""Virtual time: nothing waits, nothing drifts, nothing hangs."""

import asyncio
import contextlib
import functools
import os
import signal
import socket
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import anyio.to_thread
import pytest

from chrono_async.testing import (
    Simulation,
    VirtualClock,
    VirtualDeadlockError,
    VirtualLivelockError,
    VirtualTimeLoop,
    run,
)

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run_on(loop: VirtualTimeLoop, main):
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)


class TestTime:
    @pytest.mark.long
    async def test_a_year_of_minutes_is_exact(self, sim):
        """Half a million sleeps neither wait nor drift: each minute is struck to the microsecond."""
        expected = NEW_YEAR
        for _ in range(365 * 24 * 60):
            await asyncio.sleep(60)
            expected += MINUTE
            assert sim.now == expected

    def test_a_grid_of_tenths_does_not_drift(self):
        """A tenth is no binary number: after some years a sum of floats would be off by more at every step."""

        async def main():
            for _ in range(5000):
                await asyncio.sleep(0.1)
            return asyncio.get_running_loop().elapsed

        assert run_on(VirtualTimeLoop(start=2**28), main()) == timedelta(seconds=500)

    async def test_sleeping_takes_no_real_time(self, sim):
        before = time.monotonic()
        await sim.sleep(timedelta(days=400))
        assert time.monotonic() - before < 1
        assert sim.loop.time() == 400 * 86_400

    async def test_timers_fire_in_the_order_of_time(self, sim):
        fired = []
        for delay in (3, 1, 2):
            sim.loop.call_later(delay, fired.append, delay)
        await sim.advance(3)
        assert fired == [1, 2, 3]

    @pytest.mark.parametrize("start", [0, 2**24, 2**31, 2**36])
    def test_a_late_hour_does_not_stop_time(self, start):
        """Beside 2**24 seconds a nanosecond vanishes, beside 2**36 ten microseconds do: timers must still come due."""

        async def main():
            for delay in (0.1, 1e-6, 1e-9, 1 / 3, 60):
                await asyncio.sleep(delay)
            return asyncio.get_running_loop().time()

        loop = VirtualTimeLoop(start=start, max_steps_without_progress=1000)
        assert run_on(loop, main()) == pytest.approx(start + 60.433, abs=0.001)

    async def test_a_timer_is_not_a_microsecond_early(self, sim):
        await sim.advance(0.3)
        fired = []
        for microseconds in range(1, 4):
            sim.loop.call_at(0.3 + microseconds * 1e-6, lambda: fired.append(sim.loop.elapsed))
        await sim.advance(1)
        assert fired == [timedelta(microseconds=300_000 + more) for more in (1, 2, 3)]

    async def test_a_cancelled_timer_moves_no_time(self, sim):
        for delay in range(1, 300):
            sim.loop.call_later(delay, print).cancel()
        await asyncio.sleep(1000)
        assert sim.loop.time() == 1000

        timer = sim.loop.call_later(5, print)
        timer.cancel()
        answer = asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.02)
        await answer
        assert sim.loop.time() == 1000

    @pytest.mark.parametrize("many", [20, 500])
    async def test_cancelled_timers_leave_the_others_alone(self, sim, many):
        """The base class sweeps cancelled timers by a count of them: the count must stay right."""
        for _ in range(3):
            fired = []
            for delay in range(many):
                sim.loop.call_later(delay, fired.append, delay)
                sim.loop.call_later(delay, print).cancel()
            await sim.advance(many)
            assert fired == list(range(many))
        assert sim.loop._timer_cancelled_count == 0


class TestOneInstant:
    async def test_equal_deadlines_fall_together(self, sim):
        """Ten tasks that sleep to one instant all wake before any of them gets a second turn."""
        log = []

        async def worker():
            await asyncio.sleep(1)
            log.append("woke")
            await asyncio.sleep(0)
            log.append("second turn")

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(worker())
        assert log == ["woke"] * 10 + ["second turn"] * 10

    async def test_deadlines_reached_by_different_sums_fall_together(self, sim):
        """0.1 + 0.2 is not 0.3 in floats, and is the same instant nevertheless."""
        log = []

        async def worker(*delays):
            for delay in delays:
                await asyncio.sleep(delay)
            log.append("woke")
            await asyncio.sleep(0)
            log.append("second turn")

        await asyncio.gather(worker(0.1, 0.2), worker(0.3), worker(0.2, 0.1))
        assert log == ["woke"] * 3 + ["second turn"] * 3

    async def test_settle_runs_all_that_can_run_now_and_nothing_of_later(self, sim):
        log = []

        async def chain():
            for turn in range(50):
                await asyncio.sleep(0)
                log.append(turn)
            await asyncio.sleep(1e-6)
            log.append("later")

        task = asyncio.create_task(chain())
        await sim.settle()
        assert log == list(range(50))
        assert sim.loop.time() == 0
        await task

    async def test_several_may_settle_and_one_may_give_up(self, sim):
        gone = asyncio.create_task(sim.settle())
        others = [asyncio.create_task(sim.settle()) for _ in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(*others)
        assert gone.cancelled()


def order_of_ten(seed, rounds=3):
    """Ten tasks and ten timers at one instant: in which order do they run?"""
    log = []

    async def worker(name):
        for _ in range(rounds):
            await asyncio.sleep(1)
            log.append(name)

    async def main():
        loop = asyncio.get_running_loop()
        for number in range(10):
            loop.call_at(1, log.append, f"timer {number}")
        await asyncio.gather(*(worker(number) for number in range(10)))

    run(main(), seed=seed)
    return log


class TestShuffle:
    def test_the_same_seed_gives_the_same_order(self):
        assert order_of_ten(7) == order_of_ten(7)

    def test_other_seeds_give_other_orders(self):
        assert len({tuple(order_of_ten(seed)) for seed in range(20)}) == 20

    def test_timers_are_shuffled(self):
        first_timer = {next(name for name in order_of_ten(seed) if isinstance(name, str)) for seed in range(20)}
        assert len(first_timer) > 5

    def test_tasks_are_shuffled_also_without_timers(self):
        def first_of_ten(seed):
            log = []

            async def worker(event, name):
                await event.wait()
                log.append(name)

            async def main():
                event = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    for number in range(10):
                        group.create_task(worker(event, number))
                    await asyncio.sleep(1)
                    event.set()

            run(main(), seed=seed)
            return log[0]

        assert len({first_of_ten(seed) for seed in range(20)}) > 5

    def test_a_shuffle_loses_nobody(self):
        assert sorted(map(str, order_of_ten(3))) == sorted(map(str, order_of_ten(None)))

    def test_without_a_seed_the_order_is_asyncios_own(self):
        async def main():
            log = []

            async def worker(name):
                for _ in range(3):
                    log.append(name)
                    await asyncio.sleep(0)

            await asyncio.gather(*(worker(number) for number in range(10)))
            return log

        assert run(main()) == asyncio.run(main()) == list(range(10)) * 3

    @pytest.mark.sim(seeds=range(10))
    async def test_plain_callbacks_keep_their_order(self, sim):
        """asyncio promises it, and transports rely on it: made first, told first."""
        log = []
        for number in range(20):
            sim.loop.call_soon(log.append, number)
        await sim.settle()
        assert log == list(range(20))


class TestWhatAsyncioHas:
    """What schedulers are made of does in virtual time what it does in real time."""

    async def test_a_timeout_ends_what_takes_too_long(self, sim):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        assert sim.loop.time() == 5

    async def test_an_event_wakes_who_waits_for_it(self, sim):
        event = asyncio.Event()
        sim.loop.call_later(7, event.set)
        await event.wait()
        assert sim.loop.time() == 7

    async def test_a_queue_hands_over(self, sim):
        queue = asyncio.Queue(maxsize=1)

        async def produce():
            for number in range(5):
                await asyncio.sleep(1)
                await queue.put((number, sim.loop.time()))

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            got = [await queue.get() for _ in range(5)]
        assert got == [(number, number + 1.0) for number in range(5)]

    async def test_a_task_group_cancels_the_others(self, sim):
        async def fail():
            await asyncio.sleep(1)
            raise LookupError

        with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group is what raises
            async with asyncio.TaskGroup() as group:
                sleeper = group.create_task(asyncio.sleep(100))
                group.create_task(fail())
        assert sleeper.cancelled()
        assert sim.loop.time() == 1

    @pytest.mark.sim(seeds=range(5))
    async def test_sockets_work(self, sim):
        """Bytes that have been written arrive before time moves."""
        left, right = socket.socketpair()
        reader, closer = await asyncio.open_connection(sock=left)
        _, writer = await asyncio.open_connection(sock=right)
        sleeper = asyncio.create_task(asyncio.sleep(3600))
        for number in range(100):
            writer.write(b"%d\n" % number)
            assert await reader.readline() == b"%d\n" % number
        assert sim.loop.time() == 0
        sleeper.cancel()
        writer.close()
        closer.close()
        await asyncio.gather(writer.wait_closed(), closer.wait_closed())

    async def test_a_signal_arrives_before_time_moves(self, sim):
        arrived = []
        sim.loop.add_signal_handler(signal.SIGUSR1, lambda: arrived.append(sim.loop.time()))
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(1)
        sim.loop.remove_signal_handler(signal.SIGUSR1)
        assert arrived == [0]

    def test_leftovers_are_cancelled_at_the_end(self):
        """As `asyncio.run` does: tasks get their CancelledError, generators their GeneratorExit, the loop is closed."""
        log = []

        async def leftover():
            try:
                await asyncio.sleep(3600)
            finally:
                log.append("cancelled")

        async def numbers():
            try:
                yield 1
                yield 2
            finally:
                log.append("closed")

        async def main():
            loop = asyncio.get_running_loop()
            loop.task = asyncio.create_task(leftover())
            loop.generator = numbers()
            await anext(loop.generator)
            return loop

        loop = run(main())
        assert log == ["cancelled", "closed"]
        assert loop.is_closed()
        assert loop.time() == 0


class TestThreads:
    async def test_time_stands_still_while_a_thread_works(self, sim):
        fired = []
        sim.loop.call_later(0.001, fired.append, "timer")
        assert await asyncio.to_thread(lambda: time.sleep(0.1) or 42) == 42
        assert sim.loop.time() == 0
        assert fired == []

    async def test_time_stands_still_for_an_executor_of_ones_own(self, sim):
        def work():
            time.sleep(0.05)
            return threading.current_thread().name

        with ThreadPoolExecutor(thread_name_prefix="mine") as threads:
            sleeper = asyncio.create_task(asyncio.sleep(60))
            assert (await sim.loop.run_in_executor(threads, work)).startswith("mine")
            assert not sleeper.done()
            sleeper.cancel()

    async def test_time_stands_still_for_other_peoples_threads_under_outside_work(self, sim):
        """anyio brings its own threads: whoever calls it says so."""
        sleeper = asyncio.create_task(asyncio.sleep(60))
        with sim.loop.outside_work():
            await anyio.to_thread.run_sync(time.sleep, 0.05)
        assert not sleeper.done()
        sleeper.cancel()

    async def test_outside_work_that_fails_lets_go_of_time(self, sim):
        with contextlib.suppress(LookupError), sim.loop.outside_work(), sim.loop.outside_work():
            raise LookupError
        await asyncio.sleep(1)
        assert sim.loop.time() == 1

    async def test_a_thread_that_nobody_waits_for_holds_time_to_its_end(self, sim):
        """Cancelling what waits for a thread does not stop the thread."""
        ended = threading.Event()

        def work():
            time.sleep(0.1)
            ended.set()

        waiting = asyncio.create_task(asyncio.to_thread(work))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(1)
        assert ended.is_set()

    async def test_a_thread_that_fails_lets_go_of_time(self, sim):
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        await asyncio.sleep(1)
        assert sim.loop.time() == 1

    async def test_settle_waits_for_threads(self, sim):
        work = asyncio.create_task(asyncio.to_thread(time.sleep, 0.05))
        await sim.settle()
        assert work.done()

    async def test_a_thread_wakes_the_loop_at_once(self, sim):
        """Not at the loop's next look: a hundred hand-overs would take seconds."""
        before = time.monotonic()
        for _ in range(100):
            await asyncio.to_thread(int)
        assert time.monotonic() - before < 1

    async def test_a_thread_that_nobody_announced_is_awaited_when_nothing_else_is_left(self, sim):
        event = asyncio.Event()
        thread = threading.Timer(0.1, lambda: sim.loop.call_soon_threadsafe(event.set))
        thread.start()
        await event.wait()
        thread.join()

    async def test_a_thread_can_sleep_in_virtual_time(self, sim):
        """A plain function that takes an hour: time goes on around it, and stands still again when it works."""

        def work():
            before = sim.loop.time()
            sim.sleep_in_thread(3600)
            time.sleep(0.05)
            return sim.loop.time() - before

        ticks = []
        sim.loop.call_later(1800, ticks.append, "half time")
        assert await asyncio.to_thread(work) == 3600
        assert ticks == ["half time"]
        assert sim.loop.time() == 3600

    async def test_a_thread_asleep_can_be_timed_out(self, sim):
        woke = threading.Event()

        def work():
            sim.sleep_in_thread(3600)
            woke.set()

        with pytest.raises(TimeoutError):  # noqa: PT012 - the timeout is what raises
            async with asyncio.timeout(60):
                with sim.loop.outside_work():
                    await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        assert sim.loop.time() == 60
        assert not woke.is_set()
        await sim.advance(3540)
        assert woke.wait(5)

    async def test_two_threads_asleep_do_not_hold_each_other(self, sim):
        def work(seconds):
            sim.sleep_in_thread(seconds)
            time.sleep(0.02)
            return sim.loop.time()

        assert await asyncio.gather(*(asyncio.to_thread(work, 10 - n) for n in range(3))) == [10, 9, 8]

    def test_the_end_of_a_simulation_ends_the_sleep_of_its_threads(self):
        outcome = []

        def work(sim):
            try:
                sim.sleep_in_thread(timedelta(days=1))
            except RuntimeError as error:
                outcome.append(str(error))

        async def main(sim):
            sim.loop.run_in_executor(None, work, sim)
            await asyncio.sleep(3600)

        with Simulation() as sim:
            sim.run(main(sim))
        assert outcome == ["the simulation ended while a thread slept in it"]
        assert sim.loop.time() == 3600

    async def test_processes_work_too(self, sim):
        with ProcessPoolExecutor(max_workers=1) as processes:
            assert await sim.loop.run_in_executor(processes, functools.partial(int, "7")) == 7
        assert sim.loop.time() == 0

    def test_a_thread_may_outlive_the_loop(self, caplog):
        """Its result is lost with the loop, quietly."""
        threads = ThreadPoolExecutor()

        async def main():
            asyncio.get_running_loop().run_in_executor(threads, time.sleep, 0.1)

        run(main())
        threads.shutdown(wait=True)
        assert caplog.records == []

    def test_a_closed_loop_takes_no_work(self):
        loop = VirtualTimeLoop()
        loop.close()
        with pytest.raises(RuntimeError, match="closed"):
            loop.run_in_executor(None, int)


class TestWhatWouldHang:
    def test_a_deadlock_names_who_waits_and_where(self):
        async def waits_for_godot():
            await asyncio.Event().wait()

        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(waits_for_godot(), name="vladimir")
                group.create_task(asyncio.Event().wait(), name="estragon")

        with pytest.raises(
            VirtualDeadlockError, match=r"vladimir in .*waits_for_godot \(test_virtual_time\.py"
        ) as caught:
            run_on(VirtualTimeLoop(patience=0.05), main())
        assert "estragon" in str(caught.value)
        assert len(caught.value.tasks) == 3

    def test_a_timer_at_the_end_of_time_is_none(self):
        with pytest.raises(VirtualDeadlockError):
            run_on(VirtualTimeLoop(patience=0.05), asyncio.sleep(float("inf")))

    def test_leftovers_of_a_deadlock_are_cancelled(self):
        log = []

        async def main():
            try:
                await asyncio.Event().wait()
            finally:
                log.append("cleared up")

        with pytest.raises(VirtualDeadlockError):
            run_on(VirtualTimeLoop(patience=0.05), main())
        assert log == ["cleared up"]

    @pytest.mark.parametrize("delay", [0, 1e-9, 1e-6])
    def test_a_busy_loop_is_named(self, delay):
        """Also the one that re-arms itself a microsecond ahead, for ever."""

        async def spins():
            while True:  # noqa: ASYNC110 - the fault that is to be found
                await asyncio.sleep(delay)

        async def main():
            busy = asyncio.create_task(spins(), name="busy bee")
            asyncio.create_task(asyncio.Event().wait(), name="innocent")  # noqa: RUF006 - main outlives it
            await asyncio.sleep(1)
            await busy

        loop = VirtualTimeLoop(max_steps_without_progress=500)
        with pytest.raises(VirtualLivelockError, match=r"busy bee in .*spins \(test_virtual_time\.py") as caught:
            run_on(loop, main())
        assert not any("innocent" in task for task in caught.value.tasks)

    def test_those_who_keep_each_other_busy_are_named_all(self):
        async def main():
            queues = [asyncio.Queue() for _ in range(3)]

            async def plays(mine, following):
                while True:
                    following.put_nowait(await mine.get())

            queues[0].put_nowait("ball")
            async with asyncio.TaskGroup() as group:
                for number, name in enumerate(["ann", "bob", "cleo"]):
                    group.create_task(plays(queues[number], queues[number - 1]), name=name)

        with pytest.raises(VirtualLivelockError, match=r"(?s)ann .*bob .*cleo "):
            run_on(VirtualTimeLoop(max_steps_without_progress=500), main())

    def test_much_work_over_much_time_is_no_busy_loop(self):
        async def main():
            for _ in range(100):
                for _ in range(50):
                    await asyncio.sleep(0)
                await asyncio.sleep(0.001)

        run_on(VirtualTimeLoop(max_steps_without_progress=500), main())


class TestClock:
    async def test_it_begins_where_it_is_told_and_speaks_utc(self, sim):
        clock = VirtualClock(datetime(2026, 3, 29, 2, tzinfo=timezone(timedelta(hours=1))))
        await asyncio.sleep(1.5)
        assert clock.now() == datetime(2026, 3, 29, 1, 0, 1, 500_000, tzinfo=UTC)
        assert clock.now().tzinfo is UTC
        assert clock.boot() == 1.5

    async def test_a_step_moves_the_wall_and_nothing_else(self, sim):
        fired = []
        sim.loop.call_later(10, lambda: fired.append(sim.clock.boot()))
        await sim.advance(5)
        sim.clock.step(timedelta(hours=-1))
        assert sim.now == NEW_YEAR + timedelta(seconds=5, hours=-1)
        assert sim.clock.boot() == 5
        await sim.advance(5)
        assert fired == [10]

    async def test_skewed_clocks_share_a_loop(self, sim):
        ahead = sim.clock.skewed(timedelta(seconds=20))
        await sim.advance(MINUTE)
        assert ahead.now() - sim.now == timedelta(seconds=20)
        ahead.step(timedelta(seconds=1))
        assert ahead.now() - sim.now == timedelta(seconds=21)
        assert sim.now == NEW_YEAR + MINUTE
        assert ahead.boot() == sim.clock.boot()

    async def test_it_can_be_read_from_a_thread(self, sim):
        await sim.advance(1)
        assert await asyncio.to_thread(sim.clock.now) == sim.now

    async def test_a_naive_start_is_refused(self, sim):
        with pytest.raises(ValueError, match="aware"):
            VirtualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test

    async def test_it_needs_a_virtual_loop(self):
        with pytest.raises(TypeError, match="virtual loop"):
            VirtualClock()


class TestSimulation:
    async def test_advance_runs_what_is_due_by_the_end_of_it(self, sim):
        """However many turns of the loop that takes: a plain sleep to the same instant would come back too early."""
        log = []

        async def worker():
            await asyncio.sleep(10)
            for _ in range(20):
                await asyncio.sleep(0)
            log.append("done")

        task = asyncio.create_task(worker())
        await asyncio.sleep(0)
        await sim.advance(10)
        assert log == ["done"]
        await task

    async def test_until_an_instant(self, sim):
        dst_night = datetime(2026, 3, 29, 1, tzinfo=UTC)
        await sim.until(dst_night)
        assert sim.now == dst_night
        await sim.until(dst_night)
        with pytest.raises(ValueError, match="already"):
            await sim.until(dst_night - timedelta(microseconds=1))

    async def test_until_looks_at_the_wall_clock(self, sim):
        """A clock that is set back on the way shows the instant later."""
        sim.loop.call_later(30, sim.clock.step, timedelta(seconds=-10))
        await sim.until(NEW_YEAR + MINUTE)
        assert sim.now == NEW_YEAR + MINUTE
        assert sim.loop.time() == 70

    @pytest.mark.parametrize("duration", [-1, timedelta(seconds=-1), float("nan")])
    async def test_time_does_not_run_backwards(self, sim, duration):
        with pytest.raises(ValueError, match=r"backwards|NaN"):
            await sim.advance(duration)

    def test_it_can_be_run_in_parts(self):
        """Time goes on where it stood, and so do the tasks that were left waiting."""
        log = []

        async def first():
            asyncio.get_running_loop().call_later(5, log.append, "of the first part")
            await asyncio.sleep(3)

        with Simulation(start=NEW_YEAR) as sim:
            sim.run(first())
            assert (sim.now, log) == (NEW_YEAR + timedelta(seconds=3), [])
            sim.run(sim.advance(2))
            assert (sim.now, log) == (NEW_YEAR + timedelta(seconds=5), ["of the first part"])

    def test_one_that_never_ran_is_closed_all_the_same(self):
        with Simulation() as sim:
            pass
        assert sim.loop.is_closed()

    def test_run_gives_back_what_main_returns(self):
        assert run(asyncio.sleep(3600, "an hour later")) == "an hour later"


def test_a_timer_between_two_microseconds_falls_due() -> None:
    """After months a fraction of a microsecond is a matter of rounding, and time must still get past it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(500):
            await asyncio.sleep(2e4 + 0.5e-6)
            due = loop.create_future()
            loop.call_at((round(loop.time() * 1e6) + 1.5) / 1e6, due.set_result, None)
            await due

    run(main())
