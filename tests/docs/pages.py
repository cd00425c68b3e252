"""
The pages of the documentation as programs: each ```python block is executed, and what the pages show is compared.

The blocks of a page share their names and one stretch of virtual time that begins on Thursday, 1 January 2026, at
midnight UTC; so a block may await at its top level, and what runs for ever is cut off after some virtual minutes. A
```text block right after it is what the block prints, a line of three dots stands for the rest. In a ```console block
each `$ chrono-async ...` is run, and what is shown below it is compared in the same way.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import re
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from chrono_async import SystemClock
from chrono_async.cli._app import app
from chrono_async.testing import Simulation

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "text", "console", "bash", "crontab", "yaml", "toml", "go"}
PATIENCE = 600
"""Virtual seconds after which a block that runs for ever is cut off."""

_FENCE = re.compile(
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$(?P<after>\n\n```text\n(?P<output>.*?)^```$)?", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    language: str
    text: str
    line: int
    output: str | None


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCE.finditer(text):
        yield Block(found["language"], found["text"], text.count("\n", 0, found.start("text")), found["output"])


class Page:
    """A page being run: a module of its own, so that its classes and functions have a home, and its own time."""

    def __init__(self, path: Path, simulation: Simulation) -> None:
        self.path, self.simulation = path, simulation
        self.module = types.ModuleType("page")

    def run(self) -> None:
        for block in blocks_of(self.path):
            assert block.language in LANGUAGES, f"{self.path}:{block.line}: {block.language!r}"
            if block.language == "python":
                self._check(block, self._printed_by(block), block.output)
            elif block.language == "console":
                for command, shown in commands_of(block.text):
                    self._check(block, answer_of(command), shown or None)

    def _printed_by(self, block: Block) -> str:
        tree = ast.parse("\n" * block.line + block.text, self.path)
        code = compile(tree, self.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if code.co_flags & inspect.CO_COROUTINE:
                self.simulation.run(self._cut_off(types.FunctionType(code, vars(self.module))))
            else:
                exec(code, vars(self.module))  # noqa: S102 - this is what the documentation is for
        return printed.getvalue()

    async def _cut_off(self, block: Callable[[], Any]) -> Any:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                return await block()

    def asyncio_run(self, main: Any) -> Any:
        return self.simulation.run(self._cut_off(lambda: main))

    def _check(self, block: Block, printed: str, shown: str | None) -> None:
        if shown is None:
            return
        wanted, actual = ([line.rstrip() for line in text.strip().splitlines()] for text in (shown, printed))
        if wanted[-1] == "...":
            wanted, actual = wanted[:-1], actual[: len(wanted) - 1]
        assert actual == wanted, f"{self.path}:{block.line} prints\n{printed}"


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        if command.startswith("chrono-async ") and command != "chrono-async demo":
            yield command, shown


def answer_of(command: str) -> str:
    return CliRunner().invoke(app, shlex.split(command)[1:], env={"COLUMNS": "100", "NO_COLOR": "1"}).output


def in_virtual_time(page: Page, patch: pytest.MonkeyPatch) -> None:
    """Let every clock, `asyncio.run` and the page's module name lead into the simulation."""
    clock = page.simulation.clock
    patch.setattr(SystemClock, "now", lambda _: clock.now())
    patch.setattr(SystemClock, "boot", lambda _: clock.boot())
    patch.setattr(asyncio, "run", page.asyncio_run)
    patch.setitem(sys.modules, "page", page.module)
