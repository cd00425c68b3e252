"""What there is, is told of: no name, option, event, error or command without a word in the documentation."""

import inspect
import re

import pytest

import chrono_async
import chrono_async.events
import chrono_async.storage
import chrono_async.testing
from chrono_async import AsyncScheduler, ChronoError, JobInfo, JobOptions, JobResult, RunContext, RunRecord
from chrono_async.cli._app import app

from .pages import PAGES, ROOT

README = (ROOT / "README.md").read_text()
DOCS = "\n".join(page.read_text() for page in PAGES)
REFERENCE = "\n".join(page.read_text() for page in PAGES if page.parent.name == "reference")


def is_told(name: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


@pytest.mark.parametrize(
    "name", sorted({*chrono_async.__all__, *chrono_async.storage.__all__} - {"PortableStorage", "as_leasing"})
)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert is_told(name, REFERENCE)


def test_every_name_that_can_be_loaded_is_public() -> None:
    """Or a star import and this page's other tests would pass it by."""
    assert set(chrono_async.storage._HOMES) == set(chrono_async.storage.__all__)
    assert set(chrono_async._LAZY) <= set(chrono_async.__all__)


@pytest.mark.parametrize("name", chrono_async.testing.__all__)
def test_the_testing_kit_is_in_the_reference(name: str) -> None:
    assert is_told(name, REFERENCE)


@pytest.mark.parametrize("name", [*inspect.signature(AsyncScheduler).parameters, *JobOptions.__annotations__])
def test_every_option_is_in_the_tables_of_the_readme(name: str) -> None:
    assert re.search(rf"^\|[^|]*`{name}`", README, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in vars(AsyncScheduler) if not name.startswith("_")])
def test_every_verb_is_in_the_reference(name: str) -> None:
    assert is_told(name, (ROOT / "docs" / "reference" / "scheduler.md").read_text())


@pytest.mark.parametrize("type_", [JobInfo, JobResult, RunRecord, RunContext, chrono_async.Health, chrono_async.Missed])
def test_every_field_is_in_the_reference(type_: type) -> None:
    told = (ROOT / "docs" / "reference" / "jobs.md").read_text() + (ROOT / "docs/reference/scheduler.md").read_text()
    assert [name for name in type_.__annotations__ if name[0] != "_" and not is_told(name, told)] == []


def test_every_event_is_in_the_reference() -> None:
    told = (ROOT / "docs" / "reference" / "events.md").read_text()
    types = [name for name, kind in vars(chrono_async.events).items() if _is_event(kind)]
    assert [name for name in types if not is_told(name, told)] == []


def _is_event(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, chrono_async.events.Event)


def test_every_error_is_in_the_reference() -> None:
    told = (ROOT / "docs" / "reference" / "errors.md").read_text()
    errors = [
        name for name, kind in vars(chrono_async).items() if isinstance(kind, type) and issubclass(kind, ChronoError)
    ]
    assert [name for name in errors if not is_told(name, told)] == []


def test_every_command_is_in_the_reference() -> None:
    told = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    assert [command.name for command in app.registered_commands if f"chrono-async {command.name}" not in told] == []


def test_nothing_is_promised_more_than_can_be_kept() -> None:
    """Effects cannot be had exactly once, so the words do not stand here."""
    assert "exactly once" not in DOCS.lower()
