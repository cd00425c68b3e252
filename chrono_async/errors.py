"""
The tree of errors.

Every error that this library raises on purpose derives from `ChronoError` and from the builtin that a Python programmer
would have guessed. Errors carry their data as attributes. A job's own exception is never wrapped.

    ChronoError
    ├── SchedulerRunningError (RuntimeError)
    ├── SchedulerStoppedError (RuntimeError)
    ├── JobNotFoundError (LookupError)
    ├── RunNotFoundError (LookupError)
    ├── JobAlreadyExistsError (ValueError)
    ├── TriggerPendingError (RuntimeError)
    ├── InvalidJobFuncError (TypeError)
    ├── EmptyJobIDError (ValueError)
    ├── InvalidOptionError (ValueError)
    ├── ScheduleError (ValueError)
    │   ├── InvalidCronExprError
    │   ├── InvalidIntervalError
    │   └── InvalidDelayError
    ├── StorageError (OSError)
    │   └── StorageCorruptError
    ├── LeaseLostError (RuntimeError)
    ├── PoisonedError (RuntimeError)
    └── RemoteRunError (RuntimeError)
"""

from typing import Any, cast


class ChronoError(Exception):
    """The root: catch this to catch all that this library raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies, and what comes from another process, be the same: their class is not called anew."""
        # An exception's own way calls it with `args`, which hold the message and not what that was made of.
        _, args, *state = cast(tuple[Any, ...], super().__reduce__())
        return _rebuilt, (type(self), args), *state


class SchedulerRunningError(ChronoError, RuntimeError):
    """A scheduler that runs was started again, or used on an event loop other than its own."""


class SchedulerStoppedError(ChronoError, RuntimeError):
    """A scheduler that does not run was asked for something that only a running one can do."""


class JobNotFoundError(ChronoError, LookupError):
    """No job has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job has the id {job_id!r}")
        self.job_id: str = job_id


class RunNotFoundError(ChronoError, LookupError):
    """The job has no such run to come or going on, nor does its history tell of one, or not any more."""

    def __init__(self, job_id: str, run_id: str) -> None:
        super().__init__(f"job {job_id!r} has no run {run_id!r} ahead of it, and none in its history")
        self.job_id: str = job_id
        self.run_id: str = run_id


class JobAlreadyExistsError(ChronoError, ValueError):
    """This scheduler has a job of this id already."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"this scheduler has a job with the id {job_id!r} already; give another id, or replace=True to a verb"
        )
        self.job_id: str = job_id


class TriggerPendingError(ChronoError, RuntimeError):
    """A manual run of this job waits already, with other arguments. Nothing was asked for: try again when it runs."""

    def __init__(self, job_id: str, run_id: str) -> None:
        super().__init__(f"a manual run of job {job_id!r} waits already, with other arguments; wait until it has begun")
        self.job_id: str = job_id
        self.run_id: str = run_id


class InvalidJobFuncError(ChronoError, TypeError):
    """What was given as a job's function cannot be called."""


class EmptyJobIDError(ChronoError, ValueError):
    """A job's id is empty."""

    def __init__(self) -> None:
        super().__init__("a job's id must not be empty")


class InvalidOptionError(ChronoError, ValueError):
    """An option of a scheduler or a job has a value that it cannot have."""

    def __init__(self, option: str, value: object, problem: str) -> None:
        super().__init__(f"{option}={value!r}: {problem}")
        self.option: str = option
        self.value: object = value
        self.problem: str = problem


class ScheduleError(ChronoError, ValueError):
    """A schedule that cannot be."""


class InvalidCronExprError(ScheduleError):
    """A cron expression that cannot be read, or that can never match."""

    def __init__(self, expression: str, field: str, problem: str) -> None:
        where = f"{field} field of " if field else ""
        super().__init__(f"{where}{expression!r}: {problem}")
        self.expression: str = expression
        self.field: str = field
        self.problem: str = problem


class InvalidIntervalError(ScheduleError):
    """An interval that is not a positive, finite length of time."""


class InvalidDelayError(ScheduleError):
    """A delay that is not a positive, finite length of time."""


class StorageError(ChronoError, OSError):
    """A storage could not do what it was asked to do; the driver's own exception is the cause."""


class StorageCorruptError(StorageError):
    """What a storage holds cannot be read: all of it, or what it holds of one job. Nothing was overwritten."""

    def __init__(self, *args: object, job_id: str | None = None) -> None:
        super().__init__(*args)
        self.job_id: str | None = job_id

    @classmethod
    def of(cls, job_id: str) -> "StorageCorruptError":
        """Return the error that says so of one job."""
        return cls(f"what is stored of job {job_id!r} cannot be read; it is left as it is", job_id=job_id)


class LeaseLostError(ChronoError, RuntimeError):
    """The right to run an occurrence ended before its run did: another instance may have taken over."""

    def __init__(self, job_id: str, token: int) -> None:
        super().__init__(f"the lease of job {job_id!r} under token {token} is lost")
        self.job_id: str = job_id
        self.token: int = token


class PoisonedError(ChronoError, RuntimeError):
    """A run was given up: the process that it ran in has died in each of its attempts."""

    def __init__(self, job_id: str, attempts: int) -> None:
        super().__init__(f"its process died in each of {attempts} attempts")
        self.job_id: str = job_id
        self.attempts: int = attempts


class RemoteRunError(ChronoError, RuntimeError):
    """A run failed elsewhere, or here a while ago: its exception is not at hand, its text is this one's message."""


def _rebuilt(kind: type[ChronoError], args: tuple[object, ...]) -> ChronoError:
    error = kind.__new__(kind, *args)
    super(ChronoError, error).__init__(*args)  # an OSError that has an `__init__` of its own takes its args only here
    return error


_LONGEST = 10_000


def describe(error: BaseException) -> str:
    """Return an exception as text for the record: type and message, of any length and whatever its `__str__` does."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - a job's own exception may be broken in any way
        text = "(its message cannot be read)"
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}... ({len(text)} characters)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
