"""
Errors: one tree, and each with the builtin that a Python programmer would have guessed.
"""

import pytest

import chrono_async
from chrono_async import (
    ChronoError,
    EmptyJobIDError,
    InvalidCronExprError,
    InvalidDelayError,
    InvalidIntervalError,
    InvalidJobFuncError,
    InvalidOptionError,
    JobAlreadyExistsError,
    JobNotFoundError,
    LeaseLostError,
    RemoteRunError,
    RunNotFoundError,
    ScheduleError,
    SchedulerRunningError,
    SchedulerStoppedError,
    StorageCorruptError,
    StorageError,
)

TREE = [
    (SchedulerRunningError, RuntimeError),
    (SchedulerStoppedError, RuntimeError),
    (JobNotFoundError, LookupError),
    (RunNotFoundError, LookupError),
    (JobAlreadyExistsError, ValueError),
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
