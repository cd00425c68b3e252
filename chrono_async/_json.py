"""
What pydantic, and with it FastAPI, is told of the fields that are no data: in JSON they are text.

They stay what they are for everybody else. None is read from its text: that does not say all there is.
"""

from typing import Annotated

from pydantic import InstanceOf, PlainSerializer, WithJsonSchema

from .errors import RemoteRunError
from .schedules import Schedule

_LONGEST = 10_000


def _text_of(error: BaseException) -> str:
    """Return an error as a storage keeps it: type and message, of any length and whatever its `__str__` does."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - a job's own exception may be broken in any way
        text = "(its message cannot be read)"
    if isinstance(error, RemoteRunError):  # whose message is what the storage has kept
        return text
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}... ({len(text)} characters)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_TEXT = WithJsonSchema({"type": "string"})

ScheduleField = Annotated[InstanceOf[Schedule], PlainSerializer(str, return_type=str, when_used="json"), _TEXT]
ErrorField = Annotated[InstanceOf[BaseException], PlainSerializer(_text_of, return_type=str, when_used="json"), _TEXT]
