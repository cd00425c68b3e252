"""
What pydantic, and with it FastAPI, is told of the fields that are no data: in JSON they are text.

They stay what they are for everybody else. None is read from its text: that does not say all there is.
"""

from typing import Annotated

from pydantic import InstanceOf, PlainSerializer, WithJsonSchema

from .errors import RemoteRunError, describe
from .schedules import Schedule


def _text_of(error: BaseException) -> str:
    """Return an error as a storage keeps it, or has kept it."""
    return str(error) if isinstance(error, RemoteRunError) else describe(error)


_TEXT = WithJsonSchema({"type": "string"})

ScheduleField = Annotated[InstanceOf[Schedule], PlainSerializer(str, return_type=str, when_used="json"), _TEXT]
ErrorField = Annotated[InstanceOf[BaseException], PlainSerializer(_text_of, return_type=str, when_used="json"), _TEXT]
