"""
The processes of a campaign: `python -m tests.chaos.process PART`.

A worker is a scheduler with all jobs; SIGTERM drains it, SIGUSR1 lets it declare all jobs again. The driver calls the
verbs that users call; SIGUSR1 lets it begin all jobs anew from the time that it is. The observer reads all records,
again and again. SIGTERM ends these, too.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from chrono_async import (
    AsyncScheduler,
    ChronoError,
    IntervalSchedule,
    JobRecord,
    JobStatus,
    SystemClock,
    open_storage,
)
from chrono_async.errors import StorageError
from chrono_async.models import InstanceInfo

from .log import Log
from .plan import JOBS, PATIENCE, POLL, TTL, Job, Part, body_of
from .recording import RecordingStorage

_boot = SystemClock().boot
_STALL = 0.15
_EVERY = 0.1


class _Listener(logging.Handler):
    """Tells what the engine logs as an error: it has found a defect of its own."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "chrono_async.jobs":  # what bodies raise is meant to be
            return
        cause = record.exc_info[1] if record.exc_info else None
        self._log.tell("defect", f"{record.getMessage()}: {cause!r}")


def _watch_for_stalls(log: Log) -> None:
    """Tell when this process was not let on for a while: by a signal, or because the machine has too much to do."""

    def watch() -> None:
        last = _boot()
        while True:
            time.sleep(0.03)
            now = _boot()
            if now - last > _STALL:
                log.tell("fault", ("frozen", log.who, last, now))
            last = now

    threading.Thread(target=watch, daemon=True).start()


def _scheduler(part: Part, log: Log) -> tuple[AsyncScheduler, Any]:
    storage = open_storage(part.url)
    scheduler = AsyncScheduler(
        storage=RecordingStorage(storage, log),
        instance_id=part.name,
        lock_ttl=TTL,
        storage_poll_interval=POLL,
        storage_timeout=PATIENCE,
    )
    return scheduler, storage


def _when_signalled(number: signal.Signals) -> asyncio.Event:
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


# ── a worker ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Worker:
    """A scheduler with all jobs, until it is told to stop."""

    def __init__(self, part: Part, log: Log) -> None:
        self.log, self.dice = log, random.Random(f"{part.seed} {part.who}")
        self.numbers = itertools.count()
        self.scheduler, self.storage = _scheduler(part, log)

    async def live(self) -> None:
        """Declare, work, drain."""
        stop, again = _when_signalled(signal.SIGTERM), _when_signalled(signal.SIGUSR1)
        self.log.tell("lived", "born")
        await self.scheduler.start()
        declaring = asyncio.create_task(self._declare_whenever(again))
        again.set()
        await stop.wait()
        declaring.cancel()
        await asyncio.wait([declaring])
        self.log.tell("lived", "stopping")
        await self.scheduler.stop()
        await self.storage.close()
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        self.log.tell("lived", ("stopped", tuple(left)))

    async def _declare_whenever(self, again: asyncio.Event) -> None:
        while True:
            await again.wait()
            again.clear()
            for job_id, job in JOBS.items():
                await self._declare(job_id, job)

    async def _declare(self, job_id: str, job: Job) -> None:
        function = body_of(job_id, job, self.log, self.dice, self.numbers.__next__)
        while True:
            with contextlib.suppress(StorageError):
                if isinstance(job.schedule, float):
                    add = self.scheduler.add_one_shot_job
                    await add(job_id, "", function, job.schedule, replace=True, **job.options)
                else:
                    await self.scheduler.add_job(job_id, "", function, job.schedule, replace=True, **job.options)
                return
            await asyncio.sleep(0.2)


async def work(part: Part, log: Log) -> None:
    """Be a worker."""
    _watch_for_stalls(log)
    await Worker(part, log).live()


# ── the driver ───────────────────────────────────────────────────────────────────────────────────────────────────────

_VERBS = ("pause", "resume", "resume", "reschedule", "remove", "trigger", "trigger")


async def drive(part: Part, log: Log) -> None:
    """Call the verbs that users call until told to stop; then resume what is paused."""
    stop, anew = _when_signalled(signal.SIGTERM), _when_signalled(signal.SIGUSR1)
    dice = random.Random(f"{part.seed} driver")
    scheduler, storage = _scheduler(part, log)
    log.tell("lived", "born")
    await scheduler.start()
    while not stop.is_set() or anew.is_set():
        await _pause(stop, min(dice.expovariate(2), 1))
        verb = dice.choice(_VERBS)
        await _ask(log, scheduler, verb, await _job_for(verb, scheduler, dice), dice)
        if anew.is_set():
            anew.clear()
            await _begin_anew(log, scheduler, dice)
    for job in JOBS:
        await _insist(log, scheduler, "resume", job, dice)
    log.tell("lived", "stopping")
    await scheduler.stop()
    log.tell("lived", ("stopped", ()))
    await storage.close()


async def _job_for(verb: str, scheduler: AsyncScheduler, dice: random.Random) -> str:
    """Draw a job; to be paused one that is running, since that is what is to be seen."""
    if verb == "pause":
        with contextlib.suppress(StorageError):
            running = [job.id for job in await scheduler.list_jobs() if job.status is JobStatus.RUNNING]
            return dice.choice([job for job in running if job != "tick"] or ["long"])
    return dice.choice([job for job in JOBS if job != "tick"])


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _begin_anew(log: Log, scheduler: AsyncScheduler, dice: random.Random) -> None:
    """Do what one does when a server's clock was ahead, and the jobs' next runs are where it has been."""
    await asyncio.sleep(2 * POLL)  # the scheduler must have heard what time it is now
    for job in JOBS:
        await _insist(log, scheduler, "pause", job, dice)
        await _insist(log, scheduler, "resume", job, dice)


async def _insist(log: Log, scheduler: AsyncScheduler, verb: str, job: str, dice: random.Random) -> None:
    while True:
        if await _ask(log, scheduler, verb, job, dice) != StorageError.__name__:
            return
        await asyncio.sleep(0.1)


async def _ask(log: Log, scheduler: AsyncScheduler, verb: str, job: str, dice: random.Random) -> str:
    log.tell("user", (job, verb, ""))
    arguments = (IntervalSchedule(dice.choice((0.4, 0.5, 1.0))),) if verb == "reschedule" else ()
    answer = "ok"
    try:
        await getattr(scheduler, f"{verb}_job")(job, *arguments)
    except ChronoError as error:
        answer = type(error).__name__
    log.tell("user", (job, verb, answer))
    return answer


# ── the observer ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def observe(part: Part, log: Log) -> None:
    """Read all records again and again until told to stop, and once more then."""
    stop = _when_signalled(signal.SIGTERM)
    storage = open_storage(part.url)
    known: dict[str, JobRecord] = {}
    is_last = False
    while not is_last:
        is_last = stop.is_set()
        await _look(storage, log, known, tells_all=is_last)
        await _pause(stop, _EVERY)
    await storage.close()


async def _look(storage: Any, log: Log, known: dict[str, JobRecord], *, tells_all: bool) -> None:
    begin = _boot()
    try:
        await _prove(storage, log)
        begin = _boot()
        records = {record.id: record for record in await storage.list_jobs()}
    except StorageError:
        log.tell("fault", ("outage", "", begin, _boot()))
        return
    for job in {**known, **records}:
        if tells_all or known.get(job) != records.get(job):
            log.tell("looked", (begin, job, records.get(job)))
    known.clear()
    known.update(records)


async def _prove(storage: Any, log: Log) -> None:
    """
    Write something, and tell if the storage lets one wait who is well.

    A process that stands still while it holds a file's lock holds up all others: that cannot be told from outside.
    """
    begin = _boot()
    now = SystemClock().now()
    await storage.heartbeat(InstanceInfo("observer", now, now))
    if _boot() > begin + _STALL:
        log.tell("fault", ("outage", "", begin, _boot()))


_ROLES: dict[str, Callable[[Part, Log], Any]] = {"worker": work, "driver": drive, "observer": observe}


def main() -> None:
    """Be what the part says."""
    part = Part.loads(sys.argv[1])
    log = Log(part.log, part.who)
    logging.getLogger("chrono_async").addHandler(_Listener(log))
    log.tell("process", os.getpid())

    async def run() -> None:
        tell = log.tell
        asyncio.get_running_loop().set_exception_handler(lambda _, context: tell("defect", str(context.get("message"))))
        await _ROLES[part.role](part, log)

    asyncio.run(run())


if __name__ == "__main__":
    main()
