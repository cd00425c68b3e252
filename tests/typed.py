"""
What checkers make of a user's code. Nobody runs it: `tests/unit/test_types.py` lets them read it.

A line that is to be refused has an ignore, and one that ignores nothing is refused as well.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from chrono_async import AsyncScheduler, JobInfo, JobOptions, JobResult, Misfire, Schedule
from chrono_async.events import Event, EventsDropped, JobAdded, JobEvent, JobRemoved, RunFinished, RunStarted


async def work() -> None: ...


def on_event(event: Event) -> None: ...


async def on_finished(event: RunFinished) -> None: ...


def on_run(event: RunStarted | RunFinished) -> None: ...


async def a_stream_is_of_what_is_asked_for(s: AsyncScheduler) -> None:
    with s.events(RunFinished, buffer=100) as events:
        async for event in events:
            assert_type(event, RunFinished)
    async for any_event in s.events():
        assert_type(any_event, Event)
    async for either in s.events(RunFinished, EventsDropped):
        assert_type(either, RunFinished | EventsDropped)
    async for one in s.events(JobAdded, JobRemoved, RunFinished):
        assert_type(one, JobAdded | JobRemoved | RunFinished)
    several: list[type[JobEvent]] = [JobAdded, JobRemoved, RunStarted, RunFinished]
    async for some in s.events(*several):
        assert_type(some, JobEvent)
    s.events(int)  # type: ignore[type-var]


def a_field_is_what_it_is_for_pydantic_as_for_everybody(job: JobInfo, result: JobResult) -> None:
    assert_type(job.schedule, Schedule | None)
    assert_type(result.error, BaseException | None)


def a_listener_takes_what_is_asked_for(s: AsyncScheduler) -> None:
    told: list[Event] = []
    results: list[JobResult] = []
    s.subscribe(on_event)
    s.subscribe(on_event, RunFinished, buffer=5)
    s.subscribe(on_finished, RunFinished)
    s.subscribe(on_run, RunStarted, RunFinished)
    s.subscribe(on_event, JobAdded, JobRemoved, RunStarted, RunFinished)
    s.subscribe(lambda event: results.append(event.result), RunFinished)
    s.subscribe(told.append, RunFinished, EventsDropped)
    s.subscribe(on_finished)  # type: ignore[arg-type]
    s.subscribe(on_finished, RunStarted)  # type: ignore[arg-type]
    s.subscribe(on_finished, RunStarted, RunFinished)  # type: ignore[arg-type]


async def a_policy_is_a_member_or_its_text(s: AsyncScheduler) -> None:
    options: JobOptions = {"misfire": "skip", "recovery": "skip", "overlap": "allow"}
    await s.add_interval_job("beat", "Heartbeat", work, 10, **options)
    await s.add_interval_job("beat", "Heartbeat", work, 10, misfire=Misfire.SKIP)
    await s.add_interval_job("beat", "Heartbeat", work, 10, overlap="alow")  # type: ignore[arg-type]
    s.interval(10, recovery="never")  # type: ignore[arg-type]
