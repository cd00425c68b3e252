"""Each benchmark runs, at a tiny size; how fast it is, is not asked here."""

import itertools
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest

from benchmarks import (
    burst,
    dispatch,
    durable_postgres,
    durable_redis,
    durable_sqlite,
    herd,
    idle,
    imports,
    lateness,
    registration,
    steady,
    stored,
)
from benchmarks._measure import Question, Row, Sample, line, versions
from chrono_async import RunRecord, RunStatus, SQLiteStorage, __version__
from chrono_async.claims import ClaimRequest, Outcome, PointerMove

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst, "LEAD", 0.2)
    monkeypatch.setattr(idle, "WINDOW", 0.05)
    for name, value in {"FEW": 10, "TIMES": 3, "AT_ONCE": 5}.items():
        monkeypatch.setattr(dispatch, name, value)
    for name, value in {"JOBS": 20, "TICKS": 1, "EVERY": 0.4}.items():
        monkeypatch.setattr(steady, name, value)


def at_home(question: Question) -> list[str]:
    """Return the contestants that need nobody else's package."""
    return [name for name in question.contestants if name in {"bare", "heap"} or name.startswith("chrono_async")]


def every(question: Question) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", at_home(question))


@every(burst.QUESTION)
def test_a_burst_runs_every_job(name):
    sample = burst.QUESTION.sample(name, 30)
    assert (sample["ran"], sample["dropped"]) == (30, 0)


@every(dispatch.QUESTION)
def test_dispatches_run_among_other_jobs(name):
    sample = dispatch.QUESTION.sample(name, 30)
    assert sample["jobs"] == 30
    assert sample["growth"] > 0


@every(registration.QUESTION)
def test_registration_registers_every_job(name):
    assert registration.QUESTION.sample(name, 40)["jobs"] == 40


def test_expressions_are_as_different_as_asked_for():
    assert len(set(registration.expressions(1_000, distinct=30))) == 30
    assert len(set(registration.expressions(1_000, distinct=1_000))) == 1_000


@every(idle.QUESTION)
def test_idle_jobs_stay_registered(name):
    assert idle.QUESTION.sample(name, 30)["jobs"] == 30


@every(lateness.QUESTION)
def test_lateness_sees_every_tick(name):
    assert lateness.QUESTION.sample(name, 4)["ticks"] == 4


@every(steady.QUESTION)
def test_steady_jobs_tick_once_each(name):
    sample = steady.QUESTION.sample(name, 4)
    assert (sample["ticks"], sample["missed"], sample["twice"]) == (20, 0, 0)


@pytest.mark.parametrize("question", [durable_sqlite.QUESTION, durable_postgres.QUESTION, durable_redis.QUESTION])
@pytest.mark.parametrize("name", ["bare", "chrono_async"])
def test_durable_bursts_run_every_job(question, name):
    assert question.sample(name, 30)["ran"] == 30


def test_a_bare_loop_runs_every_job_of_our_tables():
    assert durable_sqlite.QUESTION.sample("bare, our rows", 30)["ran"] == 30


async def test_a_bare_loop_writes_what_we_write(tmp_path):
    """The same columns at the claim and at the settle, and values of the same kinds in the history."""
    ours, bare = tmp_path / "ours.db", tmp_path / "bare.db"
    for path in (ours, bare):
        await durable_sqlite._make_ours(path, 1)
    assert await _steps_of_ours(ours) == await _steps_of_bare(bare)


async def _steps_of_ours(path):
    before, storage = _values_in(path), SQLiteStorage(path)
    [due] = (await storage.due(datetime.now(UTC), datetime.now(UTC))).due
    request = ClaimRequest(due.job_id, due.next_run, due.next_run, due.revision)
    [granted] = (await storage.claim([request], "me/1", timedelta(minutes=5))).verdicts
    claimed, now = _values_in(path), datetime.now(UTC)
    run = RunRecord("job-0", due.next_run, RunStatus.COMPLETED, "me", 1, granted.lease.token, False, now, now)
    move = PointerMove(due.next_run, due.revision, None)
    await storage.settle([Outcome(granted.lease, run, move)])
    await storage.close()
    return _steps(before, claimed, _values_in(path), _values_in(path, "runs"))


async def _steps_of_bare(path):
    before, loop = _values_in(path), await durable_sqlite._bare_in_ours(path)
    [job_id] = await loop.claim(10)
    claimed, now = _values_in(path), datetime.now(UTC)
    await loop.settle([(job_id, now, now)])
    await loop.close()
    return _steps(before, claimed, _values_in(path), _values_in(path, "runs"))


def _steps(before, claimed, settled, run):
    changed = [{name for name in a if a[name] != b[name]} for a, b in itertools.pairwise((before, claimed, settled))]
    return *changed, {name: type(value) for name, value in run.items()}


def _values_in(path, table="jobs"):
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return dict(database.execute(f"SELECT * FROM chrono_{table}").fetchone())  # noqa: S608 - a table of ours


@pytest.mark.parametrize("who", ["bare", "chrono_async"])
def test_two_instances_run_each_job_of_a_herd_once(who):
    sample = herd.QUESTION.sample(f"{who}, two processes", 30)
    assert [sample[figure] for figure in ("lost", "missed", "twice", "miscounted")] == [0, 0, 0, 0]


@pytest.mark.parametrize("name", list(stored.QUESTION.contestants))
def test_stored_jobs_are_there_and_cost_nothing_but_time(monkeypatch, name):
    monkeypatch.setattr(stored, "DUE", 10)
    assert stored.QUESTION.sample(name, 30)["jobs"] == 30


def test_imports_are_timed():
    assert imports.QUESTION.sample("chrono_async", 1)["imports"] == 1
    assert "chrono_async" in dict(imports.heaviest())


ASKED = """
import runpy, sys
from benchmarks._measure import Question

Question.main = lambda question: print(question.name)
del sys.argv[1:]
runpy.run_module("benchmarks.{}", run_name="__main__")
"""


@pytest.mark.parametrize("name", ["durable_postgres", "durable_redis", "herd"])
def test_who_is_a_worker_too_needs_no_arguments_to_answer(name):
    """So `nox -s bench` calls them."""
    done = subprocess.run([sys.executable, "-c", ASKED.format(name)], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == f"{name}\n"


@pytest.mark.parametrize("question", [durable_postgres.QUESTION, durable_redis.QUESTION])
def test_two_processes_share_a_durable_burst(question):
    assert question.sample("chrono_async, two processes", 30)["ran"] == 30


def test_an_answer_names_what_it_was_measured_with():
    """Us, and of the others those that are here."""
    assert versions(["pytest", "no-such-package"]) == f"chrono_async {__version__}, pytest {version('pytest')}"


def test_ratios_compare_samples_of_the_same_round(monkeypatch):
    question = Question("question", "Why?", sizes=(1,), compared={"seconds": "bare"})
    samples = {"bare": iter([1.0, 2.0, 4.0]), "ours": iter([2.0, 2.0, 12.0]), "absent": iter([None, None, None])}

    async def unused(_: int) -> Sample:
        return {}

    def draw(name: str, _: int) -> Sample | None:
        value = next(samples[name])
        return None if value is None else {"seconds": value}

    for name in samples:
        question.contestant(name)(unused)
    monkeypatch.setattr(question, "_sample_apart", draw)
    rows = list(question.ask([1], 3))
    assert [row.name for row in rows] == ["bare", "ours"]
    assert rows[1].ratios == {"seconds": [2.0, 1.0, 3.0]}


def test_who_is_not_installed_is_asked_once(monkeypatch):
    """A peer's wheel may be missing anywhere: that is told at once, and is no error of the run."""
    question, asked = Question("question", "Why?", sizes=(1, 2), compared={}), []

    async def unused(_: int) -> Sample:
        return {}

    question.contestant("peer")(unused)
    monkeypatch.setattr(question, "_sample_apart", lambda name, _: asked.append(name))
    assert list(question.ask([1, 2], 3)) == []
    assert asked == ["peer"]


def test_a_missing_package_is_told_of_and_is_no_error(capsys):
    question = Question("question", "Why?", sizes=(1,), compared={})

    async def measure(_: int) -> Sample:
        raise ImportError("No module named 'peer'")

    question.contestant("peer")(measure)
    assert question._sample_if_installed("peer", 1) is None
    assert capsys.readouterr().err == "peer is not installed: No module named 'peer'\n"


def test_a_contestant_may_be_compared_with_another_than_the_base(monkeypatch):
    question = Question("question", "Why?", sizes=(1,), compared={"seconds": "bare"})
    samples = {"bare": 1.0, "two bare": 2.0, "two of ours": 6.0}

    async def unused(_: int) -> Sample:
        return {}

    question.contestant("bare")(unused)
    for name in ("two bare", "two of ours"):
        question.contestant(name, against="two bare")(unused)
    monkeypatch.setattr(question, "_sample_apart", lambda name, _: {"seconds": samples[name]})
    assert [row.ratios["seconds"] for row in question.ask([1], 1)] == [[1.0], [1.0], [3.0]]


def test_a_line_holds_medians_and_the_spread_of_the_ratios():
    row = Row(10_000, "ours", [{"seconds": 0.5}, {"seconds": 0.25}, {"seconds": 0.4}], {"seconds": [1.0, 1.25, 2.0]})
    assert line(row) == "| 10,000 | ours | 0.4 | **1.25** (1 to 2) |"
