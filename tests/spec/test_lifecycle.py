"""
From start to stop: who may call what, and what becomes of running jobs.
"""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from datetime import timedelta

import pytest

from chrono_async import (
    AsyncScheduler,
    CronSchedule,
    InMemoryStorage,
    InvalidOptionError,
    JobStatus,
    RunStatus,
    SchedulerRunningError,
    SchedulerStoppedError,
    StorageError,
    SystemClock,
    current_run,
)
from chrono_async.engine.session import Session
from chrono_async.testing import Fault, FaultyStorage, Recorder, YieldingStorage


async def work():
    """A job."""


async def test_the_block_of_async_with_is_the_life_of_the_scheduler(sim):
    ran = []

    async def beat():
        ran.append(sim.now)

    async with AsyncScheduler(clock=sim.clock) as s:
        assert s.is_running
        await s.add_interval_job("beat", "", beat, 10)
        await sim.advance(30)
    assert not s.is_running
    await sim.advance(3600)
    assert len(ran) == 3


async def test_start_and_stop_do_the_same_by_hand(sim):
    s = AsyncScheduler(clock=sim.clock)
    assert not s.is_running
    await s.start()
    assert s.is_running
    await s.stop()
    assert not s.is_running


async def test_a_running_scheduler_cannot_be_started(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(SchedulerRunningError):
            await s.start()


async def test_of_two_starts_at_once_one_is_refused(sim):
    """The second would bring a second engine to life, and every job would have two masters."""
    s = AsyncScheduler(storage=YieldingStorage(InMemoryStorage(clock=sim.clock)), clock=sim.clock)
    s.interval(10, id="beat")(work)
    answers = await asyncio.gather(s.start(), s.start(), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", "SchedulerRunningError"]
    await s.stop()


async def test_a_start_that_failed_can_be_repeated(sim):
    """A schedule that gives no answer keeps its job from being registered, and says so where it was declared for."""

    class Broken:
        is_broken = True

        def next(self, after):
            if self.is_broken:
                raise ZeroDivisionError
            return after + timedelta(hours=1)

    s = AsyncScheduler(clock=sim.clock)
    s.job(schedule := Broken(), id="odd")(work)
    with pytest.raises(ZeroDivisionError):
        await s.start()
    assert not s.is_running
    schedule.is_broken = False
    await s.start()
    assert (await s.get_job("odd")).next_run == sim.now + timedelta(hours=1)
    await s.stop()


async def test_a_start_while_the_storage_is_down_says_so_and_can_be_repeated(sim, caplog):
    """What was declared waits for the next start; and nobody claims to be trying meanwhile."""
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock), {("due", 0): Fault.REFUSED})
    s = AsyncScheduler(storage=storage, clock=sim.clock)
    s.interval(60, id="beat")(work)
    with pytest.raises(StorageError):
        await s.start()
    assert not s.is_running
    assert "trying again" not in caplog.text
    async with s:
        assert (await s.get_job("beat")).next_run == sim.now + timedelta(minutes=1)


async def test_one_without_declared_jobs_starts_all_the_same_and_the_first_that_is_added_hears_of_it(sim, caplog):
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock), {("due", 0): Fault.REFUSED})
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        with pytest.raises(StorageError):
            await s.add_interval_job("beat", "", work, 60)
        assert "trying again" in caplog.text
        await sim.advance(30)
        await s.add_interval_job("beat", "", work, 60)
        assert s.health().ok


async def test_a_scheduler_that_does_not_run_cannot_be_stopped(sim):
    s = AsyncScheduler(clock=sim.clock)
    with pytest.raises(SchedulerStoppedError):
        await s.stop()
    await s.start()
    await s.stop()
    with pytest.raises(SchedulerStoppedError):
        await s.stop()


async def test_stopping_inside_the_block_is_fine(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.stop()


async def test_a_stopped_scheduler_can_be_started_again_and_knows_its_jobs(sim):
    ran = []

    async def beat():
        ran.append(sim.now)

    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("beat", "", beat, 10)
    begin = sim.now
    for _ in range(2):
        await s.start()
        await sim.advance(20)
        await s.stop()
    assert ran == [begin + timedelta(seconds=n) for n in (10, 20, 30, 40)]


async def test_stop_waits_for_what_runs(sim):
    done = []

    async def slow():
        await sim.sleep(100)
        done.append(sim.now)

    s = AsyncScheduler(clock=sim.clock)
    await s.start()
    await s.add_one_shot_job("slow", "", slow, 1)
    await sim.advance(2)
    await s.stop()
    assert done == [sim.now]
    assert (await s.get_job("slow")).status is JobStatus.COMPLETED


async def test_nothing_new_begins_while_it_drains(sim):
    begun = []

    async def slow():
        begun.append("slow")
        await sim.sleep(100)

    async def beat():
        begun.append("beat")

    s = AsyncScheduler(clock=sim.clock)
    await s.start()
    await s.add_one_shot_job("slow", "", slow, 1)
    await sim.advance(1)
    await s.add_interval_job("beat", "", beat, 10)
    await s.stop()
    assert begun == ["slow"]


async def test_after_a_deadline_it_cancels_and_leaves_the_run_due(sim):
    """Whoever starts next on this storage does what was cut short; and the history says what happened."""
    begun = []

    async def slow():
        begun.append(current_run().attempt)
        await sim.sleep(3600)

    s = AsyncScheduler(clock=sim.clock)
    await s.start()
    await s.add_one_shot_job("slow", "", slow, 1)
    await sim.advance(1)
    due = sim.now
    await s.stop(timeout=30)
    assert sim.now == due + timedelta(seconds=30)
    info = await s.get_job("slow")
    assert (info.status, info.next_run) == (JobStatus.CANCELLED, due)
    assert [run.status for run in await s.list_runs("slow")] == [RunStatus.CANCELLED]
    await s.start()
    await sim.advance(1)
    assert begun == [1, 1], "nobody has died, so it is the first attempt still"
    await s.stop(timeout=0)


async def test_a_deadline_may_be_passed_by_five_seconds_and_the_patience_with_the_storage(sim, caplog):
    """Of a run that will not end, and of an outcome that cannot be written."""
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))

    async def stubborn():
        while sim.now < end:
            with suppress(asyncio.CancelledError):
                await sim.sleep(3600)

    s, end = AsyncScheduler(storage=storage, clock=sim.clock, storage_timeout=7), sim.now + timedelta(hours=2)
    await s.start()
    await s.add_one_shot_job("stubborn", "", stubborn, 1)
    await s.add_one_shot_job("brief", "", sim.sleep, 1, args=(10,))
    await sim.advance(2)
    storage.fail(Fault.REFUSED, "settle")
    begin = sim.now
    await s.stop(timeout=30)
    assert sim.now == begin + timedelta(seconds=30 + 5 + 7)
    assert "would not end when they were cancelled: ['stubborn']" in caplog.text


async def test_a_run_that_is_at_most_once_is_not_left_due(sim):
    s = AsyncScheduler(clock=sim.clock)
    await s.start()
    await s.add_one_shot_job("slow", "", lambda: sim.sleep_in_thread(100), 1, recovery="skip")
    await s.add_one_shot_job("slower", "", sim.sleep, 1, args=(100,), recovery="skip")
    await sim.advance(1)
    await s.stop(timeout=5)
    info = await s.get_job("slower")
    assert (info.status, info.next_run, info.run_count) == (JobStatus.CANCELLED, None, 1)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
async def test_an_odd_deadline_is_refused_and_stops_nothing(sim, timeout):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidOptionError, match="timeout"):
            await s.stop(timeout=timeout)
        assert s.is_running


async def test_a_second_stop_waits_for_the_same_end_and_may_hasten_it(sim):
    s = AsyncScheduler(clock=sim.clock)
    await s.start()
    await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(3600,))
    await sim.advance(1)
    begin = sim.now
    first = asyncio.create_task(s.stop())
    await sim.settle()
    assert not s.is_running
    await s.stop(timeout=10)
    await first
    assert sim.now == begin + timedelta(seconds=10)


async def test_who_drains_cannot_be_started_yet(sim):
    s = AsyncScheduler(clock=sim.clock)
    await s.start()
    await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(60,))
    await sim.advance(1)
    stopping = asyncio.create_task(s.stop())
    await sim.settle()
    with pytest.raises(SchedulerRunningError):
        await s.start()
    await stopping


async def test_a_job_may_stop_its_scheduler(sim):
    """The drain waits for that very job, so the call returns at once, and the job goes on to its end."""
    log = []

    async def last():
        await s.stop()
        log.append("asked")
        await sim.sleep(5)
        log.append("done")

    s = AsyncScheduler(clock=sim.clock)
    await s.start()
    await s.add_one_shot_job("last", "", last, 1)
    await s.run_forever(handle_signals=False)
    assert log == ["asked", "done"]
    assert (await s.get_job("last")).status is JobStatus.COMPLETED


async def test_start_and_stop_may_come_from_different_tasks(sim):
    """As they do in the two halves of a fixture, or in two cells of a notebook."""
    s = AsyncScheduler(clock=sim.clock)
    await asyncio.create_task(s.start())
    await s.add_interval_job("beat", "", work, 10)
    await sim.advance(20)
    await asyncio.create_task(s.stop())
    assert (await s.get_job("beat")).run_count == 2


async def test_the_end_of_the_task_that_started_it_does_not_stop_it(sim):
    s = AsyncScheduler(clock=sim.clock)

    async def start_and_fail():
        await s.start()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.create_task(start_and_fail())
    assert s.is_running
    await s.stop()


async def test_run_forever_starts_it_and_ends_with_the_stop(sim):
    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("beat", "", work, 10)
    running = asyncio.create_task(s.run_forever(handle_signals=False))
    await sim.advance(30)
    assert s.is_running
    await s.stop()
    await running
    assert (await s.get_job("beat")).run_count == 3


async def test_who_stops_waiting_in_run_forever_stops_nothing_else(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        waiting = asyncio.create_task(s.run_forever(handle_signals=False))
        await sim.settle()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert s.is_running


async def test_who_cancels_the_run_forever_that_has_started_it_drains_it(sim):
    """As when another task of its group fails: nobody is left who could stop it."""

    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(s.run_forever(handle_signals=False))
            await sim.sleep(62)
            raise ZeroDivisionError

    before = asyncio.all_tasks()
    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("slow", "", sim.sleep, 60, args=(5,))
    begin = sim.now
    with pytest.raises(ExceptionGroup):
        await group()
    assert sim.now == begin + timedelta(seconds=65)
    assert not s.is_running
    assert asyncio.all_tasks() == before
    assert (await s.get_job("slow")).status is JobStatus.COMPLETED


@pytest.mark.parametrize("handle_signals", [False, True])
async def test_who_cancels_it_again_cancels_what_still_runs(sim, handle_signals):
    """However often: it returns when the scheduler has ended."""

    async def slow():
        try:
            await sim.sleep(3600)
        finally:
            await sim.sleep(3)

    s = AsyncScheduler(clock=sim.clock)
    await s.add_one_shot_job("slow", "", slow, 1)
    running = asyncio.create_task(s.run_forever(handle_signals=handle_signals))
    await sim.advance(2)
    due, begin = (await s.get_job("slow")).next_run, sim.now
    for _ in range(3):
        assert not running.done()
        running.cancel()
        await sim.advance(0)
    await asyncio.wait([running])
    assert (running.cancelled(), s.is_running, sim.now) == (True, False, begin + timedelta(seconds=3))
    info = await s.get_job("slow")
    assert (info.status, info.next_run) == (JobStatus.CANCELLED, due)


async def test_a_timeout_around_run_forever_is_a_timeout(sim):
    s = AsyncScheduler(clock=sim.clock)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await s.run_forever(handle_signals=False)
    assert not s.is_running


async def test_no_task_is_left_behind(sim):
    before = asyncio.all_tasks()
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(15)
    await sim.settle()
    assert asyncio.all_tasks() == before


async def test_a_scheduler_that_fails_itself_does_not_look_as_if_it_had_ended(sim, monkeypatch):
    def fail(self):
        raise OSError("odd")

    monkeypatch.setattr(Session, "_watch", fail)
    s = AsyncScheduler(clock=sim.clock)
    with pytest.raises(OSError, match="odd"):
        await s.run_forever(handle_signals=False)
    assert not s.is_running


@pytest.mark.parametrize(
    ("fault", "jobs", "seconds", "registered"),
    [(Fault.SLOW, ["a"], 3, ["a"]), (Fault.SLOW, ["a", "b"], 5, ["a"]), (Fault.HANGS, ["a"], 5, [])],
)
async def test_nor_is_a_registration_that_goes_on_at_the_stop(sim, fault, jobs, seconds, registered):
    """It ends before the stop does; or is cancelled when it takes too long, and waits for the next start."""
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock), delay=3)
    before, begin = asyncio.all_tasks(), sim.now
    s = AsyncScheduler(storage=storage, clock=sim.clock, storage_timeout=5)
    await s.start()
    storage.fail(fault, "register")
    for job_id in jobs:
        s.interval(60, id=job_id)(work)
    await sim.settle()
    await s.stop()
    assert asyncio.all_tasks() == before
    assert sim.now - begin == timedelta(seconds=seconds)
    assert [record.id for record in await storage.list_jobs()] == registered
    storage.heal()
    async with s:
        assert [job.id for job in await s.list_jobs()] == jobs


async def test_the_storage_of_a_user_is_not_closed(sim):
    """Others may use it still."""
    closed = []

    class Storage(InMemoryStorage):
        async def close(self):
            closed.append(self)
            await super().close()

    async with AsyncScheduler(storage=Storage(clock=sim.clock), clock=sim.clock):
        await sim.advance(1)
    assert closed == []


async def test_a_storage_that_counts_as_empty_is_used_all_the_same(sim):
    """Somebody's storage may well say how many jobs it has."""

    class Counting(InMemoryStorage):
        def __len__(self):
            return 0

    storage = Counting(clock=sim.clock)
    await AsyncScheduler(storage=storage, clock=sim.clock).add_interval_job("beat", "", work, 10)
    assert [record.id for record in await storage.list_jobs()] == ["beat"]


async def test_an_instance_is_unlike_any_other_unless_it_is_named(sim):
    """A host name alone is shared by all processes of a host."""
    assert AsyncScheduler(clock=sim.clock).instance_id != AsyncScheduler(clock=sim.clock).instance_id
    assert AsyncScheduler(instance_id="worker-1", clock=sim.clock).instance_id == "worker-1"


async def test_a_forked_process_is_another_instance_unless_that_is_named(sim, monkeypatch):
    """As with a scheduler at module level, under a server that forks its workers."""
    made, named = AsyncScheduler(clock=sim.clock), AsyncScheduler(instance_id="worker-1", clock=sim.clock)
    before = made.instance_id
    async with made, named:
        assert (made.instance_id, named.instance_id) == (before, "worker-1")
    monkeypatch.setattr(os, "getpid", lambda: 0)
    async with made, named:
        assert (made.instance_id != before, named.instance_id) == (True, "worker-1")
        await sim.settle()
        assert {instance.instance_id for instance in await made.list_instances()} == {before, made.instance_id}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"lock_ttl": 0}, "lock_ttl=0: must be longer than nothing"),
        ({"lock_ttl": 0.01}, "lock_ttl=.*must be at least"),
        ({"storage_poll_interval": -1}, "storage_poll_interval=-1"),
        ({"check_interval": 0}, "check_interval=0"),
        ({"lock_ttl": timedelta.max}, "lock_ttl=.*must not be longer than a century"),
        ({"storage_poll_interval": timedelta.max}, "storage_poll_interval=.*must not be longer than a century"),
        ({"storage_timeout": 1e13}, "storage_timeout=.*must not be longer than a century"),
        ({"storage_timeout": "long"}, "storage_timeout='long'"),
        ({"max_concurrent_runs": 0}, "max_concurrent_runs=0: must be a whole number of 1 or more"),
        ({"max_threads": True}, "max_threads=True"),
        ({"timezone": "Mars/Olympus"}, "timezone='Mars/Olympus': no such zone"),
        ({"instance_id": ""}, "instance_id='': must be a text"),
        ({"instance_id": 5}, "instance_id=5: must be a text"),
        ({"storage": "sqlite:jobs.db"}, "storage='sqlite:jobs.db': must have the eight methods"),
        ({"storage": InMemoryStorage}, "storage=.*must have the eight methods"),
        ({"clock": object()}, "clock=.*must have the methods now"),
        ({"clock": SystemClock}, "clock=.*must have the methods now"),
        ({"leader": object()}, "leader=.*must have an is_leader"),
        ({"blocked_loop_threshold": timedelta.max}, "blocked_loop_threshold=.*must not be longer than a century"),
        ({"blocked_loop_threshold": -1}, "blocked_loop_threshold=-1"),
    ],
)
def test_an_option_that_cannot_be_is_named(options, problem):
    with pytest.raises(InvalidOptionError, match=problem):
        AsyncScheduler(**options)


async def test_the_old_name_of_the_poll_interval_is_understood(sim):
    """How soon a job is found that another program wrote into the storage, tells how often it is looked at."""

    async def delay_of_discovery(**options):
        class Storage(InMemoryStorage):
            polls = 0

            async def heartbeat(self, instance):
                Storage.polls += 1
                await super().heartbeat(instance)

        async with AsyncScheduler(storage=Storage(clock=sim.clock), clock=sim.clock, **options):
            await sim.advance(60)
        return Storage.polls

    assert await delay_of_discovery() <= 4
    assert await delay_of_discovery(check_interval=1) >= 60
    assert await delay_of_discovery(check_interval=1, storage_poll_interval=30) <= 4


async def test_a_follower_claims_nothing_until_it_leads(sim):
    class Election:
        leads = False

        def is_leader(self):
            return self.leads

    election, ran = Election(), []

    async def beat():
        ran.append(sim.now)

    async with AsyncScheduler(leader=election, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", beat, 10)
        await sim.advance(60)
        assert ran == []
        election.leads = True
        await sim.advance(20)
        assert len(ran) >= 2


async def test_a_gate_pauses_everything_but_what_runs(sim):
    """Not even a run that is triggered begins; about a second after it opens everything goes on."""

    class Gate:
        is_open = True

        def is_leader(self):
            return self.is_open

    gate, recorder = Gate(), Recorder(sim.clock)
    async with AsyncScheduler(leader=gate, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 60, args=(30,))
        await sim.advance(70)
        gate.is_open = False
        await sim.advance(230)
        await s.trigger_job("beat")
        await sim.advance(60)
        assert [run.was_cancelled for run in recorder.runs] == [False]
        gate.is_open, opened = True, sim.now
        await sim.advance(1)
        assert recorder.runs[1].start <= opened + timedelta(seconds=1)
        await s.stop()


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_leader_that_cannot_be_asked_does_not_lead_and_ends_nothing(sim, caplog, error):
    """Such as one that awaits a task of its own which somebody has cancelled."""

    class Election:
        asked = 0

        async def is_leader(self):
            self.asked += 1
            if self.asked == 1:
                raise error
            return True

    ran = []

    async def beat():
        ran.append(sim.now)

    async with AsyncScheduler(leader=Election(), clock=sim.clock) as s:
        await s.add_interval_job("beat", "", beat, 10)
        await sim.advance(60)
    assert len(ran) >= 5
    assert "is_leader() failed" in caplog.text


async def test_no_more_jobs_run_at_once_than_allowed(sim):
    at_once = []

    async def slow():
        at_once.append(+1)
        await sim.sleep(7)
        at_once.append(-1)

    async with AsyncScheduler(max_concurrent_runs=2, clock=sim.clock) as s:
        for number in range(5):
            await s.add_one_shot_job(str(number), "", slow, 1)
        await sim.advance(60)
    assert max(sum(at_once[:n]) for n in range(11)) == 2
    assert len(at_once) == 10


SERVICE = """
    import asyncio, sys
    from chrono_async import AsyncScheduler

    async def work():
        print("begun", flush=True)
        try:
            await asyncio.sleep({seconds})
            print("done", flush=True)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise

    async def main():
        async with AsyncScheduler() as s:
            await s.add_one_shot_job("work", "", work, 0.01)
            await s.run_forever({arguments})
        print("left", flush=True)

    asyncio.run(main())
"""


def service(seconds, arguments=""):
    program = textwrap.dedent(SERVICE.format(seconds=seconds, arguments=arguments))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains(number):
    with service(seconds=0.3) as process:
        process.send_signal(number)
        assert process.communicate(timeout=20) == ("done\nleft\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_the_second_signal_cancels(numbers):
    """Whichever it is. (Two of the same kind that come together arrive as one.)"""
    with service(seconds=60) as process:
        for number in numbers:
            process.send_signal(number)
        assert process.communicate(timeout=20) == ("cancelled\nleft\n", "")
    assert process.returncode == 0


def test_without_signal_handling_a_signal_does_what_it_always_does():
    with service(seconds=60, arguments="handle_signals=False") as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == -signal.SIGTERM


def test_signals_are_given_back_to_whom_they_belonged():
    """That of the event loop's runner among them, which makes a Ctrl-C cancel the main task."""
    program = """
import asyncio, signal
from chrono_async import AsyncScheduler

def mine(number, frame): ...

async def life(ends):
    s = AsyncScheduler()
    await s.add_one_shot_job("last", "", s.stop, 0.01)
    running = asyncio.create_task(s.run_forever())
    if ends == "cancelled":
        asyncio.get_running_loop().call_later(0.005, running.cancel)
    await asyncio.wait([running])

async def main():
    runners = signal.getsignal(signal.SIGINT)
    for ends in ("stopped", "cancelled"):
        await life(ends)
        print(signal.getsignal(signal.SIGINT) is runners, signal.getsignal(signal.SIGTERM) is mine)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
    await life("stopped")
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)

signal.signal(signal.SIGTERM, mine)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.splitlines() == ["True True", "True True", "True"]


def test_a_storage_that_is_left_open_does_not_hang_the_interpreter(tmp_path):
    program = f"""
import asyncio
from chrono_async import AsyncScheduler
from chrono_async.storage import FileStorage

async def main():
    async with AsyncScheduler(storage=FileStorage({str(tmp_path / "jobs.yaml")!r})) as s:
        await s.add_interval_job("beat", "", print, 60)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stderr == ""


def test_a_scheduler_ends_with_its_loop_at_the_latest():
    """Whose tasks nobody has cancelled: it can be started on another."""
    program = """
import asyncio
from chrono_async import AsyncScheduler

s, loop = AsyncScheduler(), asyncio.new_event_loop()
loop.run_until_complete(s.start())
loop.close()
print(s.is_running)

async def life():
    async with s:
        print(s.is_running)

asyncio.run(life())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == ["False", "True"]


async def test_a_callback_may_stop_the_scheduler_from_a_task_of_its_own(sim):
    async def callback(job_id):
        async with asyncio.timeout(30):
            await asyncio.create_task(s.stop())
        ended.append(job_id)

    ended = []
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", work, 1, on_success=callback)
        await sim.advance(5)
        assert not s.is_running
        assert ended == ["it"]


def test_before_its_start_a_scheduler_needs_no_loop():
    """So it can be a module's global, with the module's functions declared on it."""
    s = AsyncScheduler()
    s.job(CronSchedule("* * * * *"), id="tick")(print)
    assert not s.is_running


async def test_who_forgets_the_clock_of_the_simulation_is_warned(sim, caplog):
    """By the machine's clock, which goes on as ever, no job would come due, and nothing would say so."""
    async with AsyncScheduler():
        await sim.sleep(1)
    assert "give it the clock of the simulation" in caplog.text
    caplog.clear()
    async with AsyncScheduler(clock=sim.clock):
        await sim.advance(1)
    assert caplog.text == ""
