"""
What checkers find in a user's code: `tests/typed.py`, of which each line is what it says.
"""

import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

MYPY = ["mypy", "--strict", "--config-file=", "--cache-dir", "{folder}"]
PYRIGHT = ["pyright", "--pythonpath", sys.executable]


@pytest.mark.long
@pytest.mark.parametrize("checker", [MYPY, PYRIGHT], ids=lambda checker: checker[0])
def test_a_users_code_is_typed(checker, tmp_path):
    """What is right is let pass, and what is wrong is found: a mark that ignores nothing is an error, too."""
    pytest.importorskip(checker[0])
    command = [sys.executable, "-m", *(part.format(folder=tmp_path) for part in checker), "tests/typed.py"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
