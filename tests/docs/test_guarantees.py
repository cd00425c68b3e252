"""
Each promise of the documentation names the tests that show it, and these are there.

A claim is a row of a table, an item of a list or a paragraph. It refers to notes at the foot of its page, and a note is
a list of links, each with a file and a test in it. What is no promise is told apart here, by how it begins.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from .pages import ROOT

DOCS = ROOT / "docs"
PAGES = [DOCS / "guarantees.md", DOCS / "how-to" / "have-effects-once.md"]
CONTRACT = "chrono_async/testing/_contract_"
CONTRACT_TESTS = "tests/storage/test_contract.py"

NO_PROMISES = (
    "What holds when something breaks, what does not, and why.",
    "Each promise has a number",
    "- No test cuts the power",
    "`scheduler.guarantees` says this for the storage in use:",
    "A process can die after its job did its work",
    "Where the work is done in the PostgreSQL",
)
"""How that begins which introduces what follows, or says what is not shown."""

CELL_BY_CELL = "By storage"
"""The section in whose table each cell is a promise of its own."""

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_REFERENCE = re.compile(r"\[\^([\w-]+)\](?!:)")
_NOTE = re.compile(r"^\[\^([\w-]+)\]:\n((?: {4}.*\n)+)", re.MULTILINE)
_LINK = re.compile(r"\[`([^`]+)`\]\(([^)]+)\)")


class Claim(NamedTuple):
    """A part of a page that promises something, and in which section it stands."""

    section: str
    text: str

    @property
    def parts(self) -> list[str]:
        """What has to be shown each by itself."""
        if self.section == CELL_BY_CELL and self.text.startswith("|"):
            return self.text.strip("|").split("|")[1:]
        return [self.text]


class Link(NamedTuple):
    """A test as a note names it."""

    page: Path
    note: str
    test: str
    target: str


def claims_of(text: str) -> Iterator[Claim]:
    """Find them block by block; a list is as many as it has items, a table as many as it has rows."""
    section = ""
    for block in re.split(r"\n{2,}", _FENCE.sub("", _NOTE.sub("", text + "\n")).strip("\n")):
        if block.startswith("#"):
            section = block.lstrip("# ")
        elif block.startswith("|"):
            yield from (Claim(section, row) for row in block.splitlines()[2:])
        elif block.startswith("- "):
            yield from (Claim(section, item) for item in re.split(r"\n(?=- )", block) if is_promise(item))
        elif is_promise(block):
            yield Claim(section, block)


def is_promise(text: str) -> bool:
    return bool(text) and not text.startswith(NO_PROMISES)


def links_of(page: Path) -> list[Link]:
    notes = _NOTE.findall(page.read_text())
    return [Link(page, name, *found) for name, links in notes for found in _LINK.findall(links)]


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names of the tests of a file, and of its classes, those that a name with `::` can lead to."""
    found = set[str]()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {node.name, *(f"{node.name}::{name}" for name in _functions(node))}
    return frozenset(found | set(_functions(ast.parse(path.read_text()))))


def _functions(node: ast.ClassDef | ast.Module) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [found.name for found in node.body if isinstance(found, kinds) and found.name.startswith("test_")]


def is_there(test: str) -> bool:
    """Whether a name such as `tests/test_it.py::TestIt::test_that` leads to a test."""
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name in names_in(ROOT / path)


LINKS = [link for page in PAGES for link in links_of(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_claim_names_what_shows_it(page: Path) -> None:
    """What nothing shows is a hope."""
    text = page.read_text()
    bare = [part for claim in claims_of(text) for part in claim.parts if not _REFERENCE.search(part)]
    assert not bare, bare
    referred, noted = set(_REFERENCE.findall(text)), {name for name, _ in _NOTE.findall(text)}
    assert referred == noted, "each note is there, and somebody refers to it"


@pytest.mark.parametrize("beginning", NO_PROMISES)
def test_what_is_no_promise_is_on_a_page(beginning: str) -> None:
    """Or an exception would be left when its reason is gone."""
    assert [page.stem for page in PAGES if f"\n{beginning}" in page.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_note_is_a_list_of_links(page: Path) -> None:
    """And of nothing else: what it says in words, nothing checks."""
    for name, links in _NOTE.findall(page.read_text()):
        lines = links.splitlines()
        assert all(_LINK.fullmatch(line.strip().removesuffix(",")) for line in lines), name
        assert [line.endswith(",") for line in lines] == [True] * (len(lines) - 1) + [False], name


def test_each_test_that_is_named_is_there() -> None:
    """One that is renamed takes its promise along only if the page is told of it."""
    assert [link for link in LINKS if not is_there(link.test)] == []


def test_each_link_leads_to_the_file_that_it_names() -> None:
    """A reader clicks where the name says."""
    for link in LINKS:
        assert (link.page.parent / link.target).resolve() == ROOT / link.test.partition("::")[0], link


def test_the_contract_is_asked_of_each_storage_of_the_table() -> None:
    """The page says once that it is; each class of it that the page names must be a part of what they inherit."""
    header = next(line for line in PAGES[0].read_text().splitlines() if "`InMemoryStorage` |" in line)
    storages = [*re.findall(r"`(\w+)`", header), "EightMethodStorage"]
    assert {f"Test{storage}" for storage in storages} <= _subclasses_of_the_contract()
    named = {link.test.split("::")[1] for link in LINKS if link.test.startswith(CONTRACT)}
    assert named <= _bases_in(ROOT / "chrono_async/testing/contract.py")["StorageContract"]


def _subclasses_of_the_contract() -> set[str]:
    found = {"StorageContract"}
    for name, bases in _bases_in(ROOT / CONTRACT_TESTS).items():  # which stand above what is derived from them
        found |= {name} if bases & found else set()
    return found


def _bases_in(path: Path) -> dict[str, set[str]]:
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    return {node.name: {base.id for base in node.bases if isinstance(base, ast.Name)} for node in classes}


PAGE = """
# Title

A promise.[^one]

## By storage

| | here | there |
|---|---|---|
| shown | yes[^one] | yes |

- An item.[^one]
- Another one,
  which nothing shows.

```python
"no promise, whatever it prints"
```

[^one]:
    [`tests/conftest.py::test_it`](../conftest.py)
"""


def test_the_net_has_no_hole() -> None:
    """A cell, an item and a test that nobody has written are seen."""
    parts = [part.strip() for claim in claims_of(PAGE) for part in claim.parts]
    assert parts == [
        "A promise.[^one]",
        "yes[^one]",
        "yes",
        "- An item.[^one]",
        "- Another one,\n  which nothing shows.",
    ]
    assert not is_there("tests/conftest.py::test_it")
    assert not is_there("tests/docs/test_guarantees.py::TestNobody::test_the_net_has_no_hole")
    assert not is_there("tests/docs/test_guarantees.py")
    assert not is_there("tests/docs/test_nowhere.py::test_it")
    assert is_there("tests/docs/test_guarantees.py::test_the_net_has_no_hole")
