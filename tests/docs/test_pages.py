"""Every code block of the README and the documentation is run, and prints what the page shows."""

import re
from pathlib import Path

import pytest

from chrono_async.testing import Simulation

from .pages import PAGES, ROOT, Page, blocks_of, in_virtual_time


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_page_shows_is_what_happens(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is not run is a page that lies sooner or later."""
    monkeypatch.chdir(tmp_path)
    with Simulation() as simulation:
        page = Page(path, simulation)
        in_virtual_time(page, monkeypatch)
        page.run()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Within the repository; the outside is not asked."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)", prose):
        assert "://" in link or (path.parent / link).exists(), link


def test_the_runner_sees_wrong_output(tmp_path: Path) -> None:
    """The net has no hole of the size of a print."""
    (tmp_path / "page.md").write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    assert [block.output for block in blocks_of(tmp_path / "page.md")] == ["2\n"]
    with Simulation() as simulation, pytest.raises(AssertionError, match=r"page.md:1 prints"):
        Page(tmp_path / "page.md", simulation).run()
