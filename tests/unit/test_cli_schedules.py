"""
The commands `next` and `explain`, run as a user runs them.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import time_machine

from chrono_async import CronSchedule, __version__, cli
from chrono_async.schedules import bind

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _on_new_years_day():
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chrono-async", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code or 0, *capsys.readouterr()

    return run


def test_next_shows_the_fire_times_in_the_zone_and_in_utc(run):
    code, out, _ = run("next", "*/5 9-17 * * 1-5", "--tz", "America/New_York", "-n", "3")
    assert code == 0
    assert [line for line in ("09:00:00 EST", "2026-01-01 14:00:00", "09:10:00 EST") if line not in out] == []
    assert "09:15:00 EST" not in out


def test_next_answers_programs_in_json(run):
    _, out, _ = run("next", "@hourly", "--tz", "Asia/Tokyo", "-n", "1", "--json")
    assert json.loads(out) == [{"local": "2026-01-01T22:00:00+09:00", "utc": "2026-01-01T13:00:00+00:00"}]


def test_next_reads_the_extended_dialect_when_told_to(run):
    _, out, _ = run("next", "30 0 0 L * 7", "--dialect", "extended", "-n", "1", "--json")
    assert json.loads(out)[0]["utc"] == "2026-01-04T00:00:30+00:00"


def test_explain_says_it_in_words_with_times_and_warnings(run):
    code, out, _ = run("explain", "30 1 31 * *", "--tz", "Europe/London")
    text = " ".join(out.split())
    assert code == 0
    assert "At 01:30, on day 31 of the month" in text
    assert "2026-01-31 01:30:00 GMT" in text
    assert "warning: day-of-month 31: there is none in February, April, June, September, November" in text


def test_explain_answers_programs_in_json(run):
    _, out, _ = run("explain", "*/7 * * * *", "-n", "1", "--json")
    assert json.loads(out) == {
        "expr": "*/7 * * * *",
        "words": "Every 7 minutes",
        "next": [{"local": "2026-01-01T12:07:00+00:00", "utc": "2026-01-01T12:07:00+00:00"}],
        "warnings": ["minute */7: 60 is no multiple of 7, so one step in 9 is shorter"],
    }


def test_the_slot_of_h_is_said_to_be_the_jobs(run):
    """Its time is that at which the job will run, for who says which job."""
    asked = "explain", "H H * * *", "--dialect", "extended", "-n", "1", "--json"
    of_none, of_report = (json.loads(run(*asked, *given)[1]) for given in ((), ("--id", "report")))
    assert of_none["warnings"] == ["H: the time depends on the job's id, which is not known here: each job has another"]
    assert of_report["warnings"] == []
    bound = bind(CronSchedule("H H * * *", dialect="extended"), job_id="report", timezone="UTC", now=NOON)
    assert of_report["next"][0]["utc"] == bound.next(NOON).isoformat()
    assert json.loads(run("next", *asked[1:], "--id", "report")[1]) == of_report["next"]


def test_it_says_its_version(run):
    assert run("--version") == (0, f"chrono-async {__version__}\n", "")


def test_it_is_a_module_too():
    """For who has no scripts on the path."""
    command = [sys.executable, "-m", "chrono_async.cli", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout == f"chrono-async {__version__}\n"


@pytest.mark.parametrize("command", ["next", "explain"])
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("0 24 * * *",), "chrono-async: hour field of '0 24 * * *': 24 is not in 0-23\n"),
        (("0 0 31 2 *",), "chrono-async: '0 0 31 2 *': never fires: no month has such a day\n"),
        (("* * * *\n*",), "chrono-async: '* * * *\\n*': the character '\\n' has no place in an expression\n"),
        (
            ("@daily", "--tz", "Mars/Phobos"),
            "chrono-async: timezone='Mars/Phobos': no such zone; write an IANA name such as 'Europe/London'\n",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, command, arguments, line):
    assert run(command, *arguments) == (2, "", line)


def test_without_the_extra_there_is_a_line_that_says_how_to_get_it(run, monkeypatch):
    monkeypatch.delitem(sys.modules, "chrono_async.cli._app", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    code, _, _ = run("next", "@daily")
    assert code == "chrono-async: typer is missing: pip install 'chrono-async[cli]'"
