"""
The log that all processes of a campaign append to: a line of JSON an event, written at once and whole.

A line goes out in one `write` to a file opened with O_APPEND, before what it tells of goes on: a kill can hide nothing
that was begun. Values are pickled into a line, because a history is compared with what the storage really answered,
to the microsecond; beside them stands what a reader wants to see.
"""

import base64
import json
import os
import pickle  # what is unpickled was written by the processes of the same campaign
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from chrono_async import SystemClock

LONGEST = 4096
_boot = SystemClock().boot


class Line(NamedTuple):
    """Who has told what, and when by the boot clock, which all processes of a host share."""

    at: float
    who: str
    kind: str
    value: Any


class Log:
    """Where a process tells what happens to it."""

    def __init__(self, path: str | Path, who: str) -> None:
        self.who = who
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def tell(self, kind: str, value: Any = None, *, at: float | None = None, who: str | None = None) -> None:
        """Append an event."""
        packed = base64.b64encode(pickle.dumps(value)).decode()
        line = {"at": _boot() if at is None else at, "who": self.who if who is None else who, "kind": kind}
        line["says"] = repr(value)[: max(0, (LONGEST - len(packed) - 200) // 2)]
        data = json.dumps(line | {"value": packed}, ensure_ascii=True).encode() + b"\n"
        os.write(self._file, data)


def read(path: str | Path) -> Iterator[Line]:
    """Return what was told, in the order of the file; of a line that is just being written, nothing yet."""
    with Path(path).open(encoding="utf-8") as lines:
        for text in lines:
            if not text.endswith("\n"):
                return
            line = json.loads(text)
            value = pickle.loads(base64.b64decode(line["value"]))  # noqa: S301 - ours, see above
            yield Line(line["at"], line["who"], line["kind"], value)
