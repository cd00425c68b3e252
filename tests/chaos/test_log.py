"""What a campaign's processes tell."""

from pathlib import Path

from .log import Log, read


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    """Who looks on while others write may see a part of it."""
    path = tmp_path / "log"
    Log(path, "me").tell("begun", 1)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-20])
    assert [(line.who, line.kind, line.value) for line in read(path)] == [("me", "begun", 1)]
