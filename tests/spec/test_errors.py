"""
Errors: one tree, and each with the builtin that a Python programmer would have guessed.
"""

import copy
import pickle

import pytest

import chrono_async
from chrono_async import (
    AsyncScheduler,
    ChronoError,
    EmptyJobIDError,
    IntervalSchedule,
    InvalidCronExprError,
    InvalidDelayError,
    InvalidIntervalError,
    InvalidJobFuncError,
    InvalidOptionError,
    JobAlreadyExistsError,
    JobNotFoundError,
    LeaseLostError,
    PoisonedError,
    RemoteRunError,
    RunNotFoundError,
    ScheduleError,
    SchedulerRunningError,
    SchedulerStoppedError,
    StorageCorruptError,
    StorageError,
    TriggerPendingError,
)

TREE = [
    (SchedulerRunningError, RuntimeError),
    (SchedulerStoppedError, RuntimeError),
    (JobNotFoundError, LookupError),
    (RunNotFoundError, LookupError),
    (JobAlreadyExistsError, ValueError),
    (TriggerPendingError, RuntimeError),
    (PoisonedError, RuntimeError),
    (InvalidCronExprError, ValueError),
    (InvalidIntervalError, ValueError),
    (InvalidDelayError, ValueError),
    (InvalidOptionError, ValueError),
    (InvalidJobFuncError, TypeError),
    (EmptyJobIDError, ValueError),
    (ScheduleError, ValueError),
    (StorageError, OSError),
    (StorageCorruptError, StorageError),
    (LeaseLostError, RuntimeError),
    (RemoteRunError, RuntimeError),
]


@pytest.mark.parametrize(("error", "builtin"), TREE)
def test_each_has_our_root_and_the_nearest_builtin(error, builtin):
    assert issubclass(error, ChronoError)
    assert issubclass(error, builtin)


def test_the_tree_is_complete():
    public = {value for name, value in vars(chrono_async).items() if name.endswith("Error")}
    assert public == {error for error, _ in TREE} | {ChronoError}
    assert not issubclass(ChronoError, ValueError | TypeError | LookupError | RuntimeError | OSError)


@pytest.mark.parametrize("error", [InvalidCronExprError, InvalidIntervalError, InvalidDelayError])
def test_what_is_wrong_with_a_schedule_is_a_schedule_error(error):
    assert issubclass(error, ScheduleError)


def test_errors_carry_their_data():
    """So that nobody has to take a message apart."""
    cron = InvalidCronExprError("0 24 * * *", "hour", "24 is not in 0-23")
    assert (cron.expression, cron.field, cron.problem) == ("0 24 * * *", "hour", "24 is not in 0-23")
    assert str(cron) == "hour field of '0 24 * * *': 24 is not in 0-23"
    option = InvalidOptionError("timeout", 0, "must be longer than nothing")
    assert (option.option, option.value, option.problem) == ("timeout", 0, "must be longer than nothing")
    assert str(option) == "timeout=0: must be longer than nothing"
    assert JobNotFoundError("report").job_id == JobAlreadyExistsError("report").job_id == "report"
    assert (LeaseLostError("report", 7).job_id, LeaseLostError("report", 7).token) == ("report", 7)


def test_messages_name_the_value_that_is_wrong():
    assert str(JobNotFoundError("report")) == "no job has the id 'report'"
    assert "'report'" in str(JobAlreadyExistsError("report"))
    assert str(EmptyJobIDError()) == "a job's id must not be empty"


EACH = [
    *(
        error(f"what {error.__name__} says")
        for error in (
            SchedulerRunningError,
            SchedulerStoppedError,
            InvalidJobFuncError,
            ScheduleError,
            InvalidIntervalError,
            InvalidDelayError,
            StorageError,
            RemoteRunError,
        )
    ),
    JobNotFoundError("report"),
    RunNotFoundError("report", "1/report"),
    JobAlreadyExistsError("report"),
    TriggerPendingError("report", "1/report"),
    PoisonedError("report", 3),
    InvalidCronExprError("61 * * * *", "minute", "61 is not in 0-59"),
    InvalidOptionError("timeout", 0, "must be longer than nothing"),
    EmptyJobIDError(),
    StorageError(28, "no space left on device", "jobs.json"),
    StorageCorruptError("jobs.json, line 1: is empty"),
    StorageCorruptError.of("report"),
    LeaseLostError("report", 7),
]


def pickled(error):
    return pickle.loads(pickle.dumps(error))  # noqa: S301  # our own


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("error", EACH, ids=lambda error: type(error).__name__)
def test_errors_are_the_same_when_they_are_copied_or_come_from_another_process(error, way):
    """One that could not be rebuilt would break the pool of processes that it was raised in."""
    error.add_note("told on the way")
    same = way(error)
    assert same is not error
    assert (type(same), str(same), same.args, vars(same)) == (type(error), str(error), error.args, vars(error))


def test_each_error_is_tried():
    assert {type(error) for error in EACH} == {error for error, _ in TREE}


VERBS = {
    "remove": lambda s, job_id: s.remove_job(job_id),
    "pause": lambda s, job_id: s.pause_job(job_id),
    "resume": lambda s, job_id: s.resume_job(job_id),
    "reschedule": lambda s, job_id: s.reschedule_job(job_id, IntervalSchedule(60)),
    "trigger": lambda s, job_id: s.trigger_job(job_id),
    "get": lambda s, job_id: s.get_job(job_id),
    "wait": lambda s, job_id: s.wait_for_job(job_id),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("wrong", [None, 5, b"report", ["report"]])
async def test_an_id_that_is_no_text_is_refused_before_a_storage_is_asked(sim, verb, wrong):
    """Each of them would say something else of it, or fall over it."""
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(TypeError, match="a job's id must be a string, not"):
            await VERBS[verb](s, wrong)
        if wrong is not None:
            with pytest.raises(TypeError, match="a job's id must be a string, not"):
                await s.list_runs(wrong)
            with pytest.raises(TypeError, match="a run's id must be a string, not"):
                await s.wait_for_job("report", run_id=wrong)
