"""What a state file can hold, and whose state files can be read."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chrono_async.claims import RegisterVerdict
from chrono_async.errors import InvalidOptionError, StorageCorruptError, StorageError
from chrono_async.models import Definition, JobRecord, JobStatus, RunRecord, RunStatus, Trigger
from chrono_async.policies import Missed, Policies
from chrono_async.storage import FileStorage
from chrono_async.storage._boot import boot_id
from chrono_async.storage._file.documents import FORMATS, JSON, XML, YAML, Format
from chrono_async.storage._file.state import fill, tree_of
from chrono_async.storage._table.shelf import Lock
from chrono_async.storage._table.table import Table

NOW = datetime(2030, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ENDINGS = [".yaml", ".yml", ".json", ".xml"]
ALIVE = {"started": "2026-01-02T03:04:05Z", "seen": "2026-01-02T03:04:05Z"}
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def there_and_back(table: Table, form: Format) -> Table:
    again = Table()
    assert fill(again, form.decode(form.encode(tree_of(table, "boot", [], form.escaped))), "boot") == []
    return again


@pytest.mark.parametrize("form", [YAML, JSON, XML], ids=lambda form: form.name)
@given(text=ANY_TEXT)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
def test_any_text_survives_or_is_known_not_to(form: Format, text: str) -> None:
    """As id, name, definition, owner: texts that must come back as they were."""
    if form.bad_character(text) is not None:
        return
    table = Table()
    record = JobRecord(id=f"x{text}", name=text, last_error=text, schedule=Definition(text, text), owner=text)
    table.save(record)
    table.locks[text] = Lock(text, 5.25)
    again = there_and_back(table, form)
    assert list(again.records.values()) == [record]
    assert again.locks == table.locks


@pytest.mark.parametrize("form", [YAML, JSON, XML], ids=lambda form: form.name)
@given(text=ANY_TEXT)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
def test_the_text_of_an_exception_is_escaped_where_it_must_be(form: Format, text: str) -> None:
    """It never keeps a file from being written and read."""
    table = Table()
    table.save(JobRecord(id="a", last_error=text))
    table.history.add(RunRecord("a", NOW, RunStatus.FAILED, error=text))
    again = there_and_back(table, form)
    assert again.records["a"].last_error == form.escaped(text)
    assert [row.error for row in again.history] == [form.escaped(text)]


@pytest.mark.parametrize("form", [YAML, JSON, XML], ids=lambda form: form.name)
@pytest.mark.parametrize(
    "text", ["null", "007", "1e3", "yes", "~", " lead", "a\r\nb\rc", "<&]]>", "🕰", "{x: y}", "#", "- "]
)
def test_texts_that_look_like_something_else_stay_texts(form: Format, text: str) -> None:
    """No loader guesses a number, a date or nothing from a name."""
    table = Table()
    table.save(JobRecord(id=text, name=text))
    assert list(there_and_back(table, form).records.values()) == [JobRecord(id=text, name=text)]


@pytest.mark.parametrize("form", [YAML, JSON, XML], ids=lambda form: form.name)
def test_the_whole_state_survives(form: Format) -> None:
    """History, options with their lengths of time, floors and locks included."""
    table = Table()
    options = Policies(
        max_runs=3, misfire_grace=timedelta(minutes=1.5), tags=("a", "b"), jitter=timedelta(seconds=0.25)
    )
    table.save(JobRecord(id="a", next_run=NOW, options=options, token=5, revision=7))
    table.save(JobRecord(id="b", manual=Trigger(NOW, "{}", 1, 2, NOW), triggered=Trigger(NOW)))
    table.token_floor, table.revision_floor = 17, 19
    table.flights["a", 5] = 12.5
    row = RunRecord("a", NOW, RunStatus.FAILED, "me", 2, 5, True, NOW, NOW, "boom", 1, Missed(3, NOW, NOW))
    table.history.add(row, NOW + timedelta(seconds=1))
    table.history.add(row)
    again = there_and_back(table, form)
    assert again.records == table.records
    assert list(again.history.entries()) == list(table.history.entries())
    assert (again.token_floor, again.revision_floor, again.flights) == (17, 19, {("a", 5): 12.5})


def test_a_manual_run_without_tries_or_a_pause_reads_as_one_that_has_none() -> None:
    """So were they all written once."""
    table = Table()
    job = {"id": "a", "manual": {"at": "2030-01-01T00:00:00Z", "arguments": "{}", "attempt": 1}}
    fill(table, {"jobs": [job]}, "boot")
    assert table.records["a"].manual == Trigger(datetime(2030, 1, 1, tzinfo=UTC), "{}", 1)


def test_locks_end_with_a_reboot() -> None:
    """The boot clock that they end by starts again from nothing."""
    table, again = Table(), Table()
    table.locks["a"] = Lock("me", 1e9)
    fill(again, JSON.decode(JSON.encode(tree_of(table, "one boot", [], str))), "another boot")
    assert again.locks == {}


@pytest.mark.parametrize("ending", ["db", "sqlite", "sqlite3"])
def test_who_gives_it_a_sqlite_file_hears_what_takes_one(tmp_path: Path, ending: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"SQLiteStorage\(path\) or 'sqlite:<path>'"):
        FileStorage(tmp_path / f"jobs.{ending}")


@pytest.mark.parametrize("ending", [".txt", "", ".yaml.gz", ".toml"])
def test_another_ending_is_unsupported(tmp_path: Path, ending: str) -> None:
    """Said at once, not at the first save."""
    with pytest.raises(InvalidOptionError, match="unsupported"):
        FileStorage(tmp_path / f"jobs{ending}")


async def test_what_a_format_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    """Before anything is written."""
    storage = FileStorage(tmp_path / "jobs.xml")
    with pytest.raises(InvalidOptionError, match=r"name='bell\\x07'.*XML file cannot hold the character '\\x07'"):
        await storage.save_job(JobRecord(id="a", name="bell\x07"))
    assert names_in(tmp_path) == []


async def test_entities_of_xml_are_not_resolved(tmp_path: Path) -> None:
    """A few of them, each made of ten of the one before, would fill the memory."""
    path = tmp_path / "jobs.xml"
    path.write_text('<!DOCTYPE x [<!ENTITY a "b">]><x><jobs><job><id>a</id><name>&a;</name></job></jobs></x>')
    with pytest.raises(StorageCorruptError, match="entities"):
        await FileStorage(path).list_jobs()


GO_YAML = """\
jobs:
    - id: cleanup
      name: Temp Cleanup
      status: 2
      paused: false
      lastRun: 2026-01-02T03:04:05.123456789Z
      nextRun: 2026-01-02T05:09:05.5+02:00
      runCount: 41
      errorCount: 1
      lastError: 'exit status 1: "x"'
    - id: "007"
      name: ""
      status: 4
      paused: true
      lastRun: 0001-01-01T00:00:00Z
      nextRun: 0001-01-01T00:00:00Z
      runCount: 0
      errorCount: 0
      lastError: ""
locks:
    cleanup:
        ownerID: host-1
        expiresAt: 2026-01-02T03:09:05Z
"""
GO_RECORDS = [
    {
        "id": "cleanup", "name": "Temp Cleanup", "status": 2, "paused": False,
        "lastRun": "2026-01-02T03:04:05.123456789Z",
        "nextRun": "2026-01-02T05:09:05.5+02:00", "runCount": 41, "errorCount": 1, "lastError": 'exit status 1: "x"',
    },
    {
        "id": "007", "name": "", "status": 4, "paused": True, "lastRun": "0001-01-01T00:00:00Z",
        "nextRun": "0001-01-01T00:00:00Z", "runCount": 0, "errorCount": 0, "lastError": "",
    },
]  # fmt: skip
GO_XML_JOBS = "".join(
    "<{0}>"
    + "".join(f"<{k}>{json.dumps(v) if not isinstance(v, str) else v}</{k}>" for k, v in record.items())
    + "</{0}>"
    for record in GO_RECORDS
)
GO_FILES = {
    "list.yaml": GO_YAML,
    "list.json": json.dumps({"jobs": GO_RECORDS, "locks": []}),
    "by_id.json": json.dumps({"jobs": {str(record["id"]): record for record in GO_RECORDS}, "locks": {}}),
    "bare.json": json.dumps(GO_RECORDS),
    "nested.xml": f"<state><jobs>{GO_XML_JOBS.format('job')}</jobs><locks></locks></state>",
    "repeated.xml": f"<state>{GO_XML_JOBS.format('jobs')}</state>",
    "other.xml": f"<fileData><jobs>{GO_XML_JOBS.format('JobRecord')}</jobs></fileData>",
}


@pytest.mark.parametrize("name", GO_FILES)
async def test_a_state_file_of_the_go_original_loads(tmp_path: Path, name: str) -> None:
    """Its integer states, its zero time, its nanoseconds; and lives on, in the same format."""
    (tmp_path / name).write_text(GO_FILES[name])
    expected = [
        JobRecord(
            id="cleanup", name="Temp Cleanup", status=JobStatus.COMPLETED,
            last_run=datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC),
            next_run=datetime(2026, 1, 2, 3, 9, 5, 500000, tzinfo=UTC),
            run_count=41, error_count=1, last_error='exit status 1: "x"',
        ),
        JobRecord(id="007", status=JobStatus.CANCELLED, paused=True),
    ]  # fmt: skip
    assert await FileStorage(tmp_path / name).list_jobs() == expected
    await FileStorage(tmp_path / name).save_job(JobRecord(id="new"))
    assert await FileStorage(tmp_path / name).list_jobs() == [*expected, JobRecord(id="new")]


@pytest.mark.parametrize("status", range(5))
async def test_each_status_of_the_go_original_is_known(tmp_path: Path, status: int) -> None:
    """Pending, running, completed, failed, cancelled."""
    (tmp_path / "jobs.json").write_text(json.dumps({"jobs": [{"id": "a", "status": status}]}))
    (record,) = await FileStorage(tmp_path / "jobs.json").list_jobs()
    assert record.status is list(JobStatus)[status]


def spoil_yaml(text: str) -> str:
    return text.replace("lastError:", "\tlastError:", 1)


MANY_DIGITS = "9" * 5_000
"""More than Python makes a number of."""


def spoil_json(text: str) -> str:
    return text.replace('"paused": false', '"paused": fal', 1)


def spoil_xml(text: str) -> str:
    return text.replace("</name>", "</nome>", 1)


@pytest.mark.parametrize(
    ("ending", "spoil"),
    [
        (".yaml", spoil_yaml), (".json", spoil_json), (".xml", spoil_xml),
        *((ending, lambda text: text[: len(text) // 2]) for ending in (".json", ".xml")),
        *((ending, lambda text: "") for ending in ENDINGS),
        *((ending, lambda text: "[1, 2") for ending in ENDINGS),
        (".yaml", lambda text: "just words"), (".json", lambda text: '"words"'), (".json", lambda text: "7"),
        (".json", lambda text: '{"jobs": 7}'), (".json", lambda text: '{"version": 99}'),
        (".json", lambda text: '{"version": "--5"}'), (".yaml", lambda text: f"version: {MANY_DIGITS}"),
        (".json", lambda text: f'{{"version": {MANY_DIGITS}}}'),
        (".xml", lambda text: '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'),
        (".json", lambda text: "[" * 100_000), (".yaml", lambda text: "a: &a [*a"),
    ],
)  # fmt: skip
async def test_a_damaged_file_is_refused_and_left_alone(
    tmp_path: Path, ending: str, spoil: Callable[[str], str]
) -> None:
    """File, line and advice are named; nothing is overwritten; put right, it goes on."""
    path = tmp_path / f"jobs{ending}"
    storage = FileStorage(path)
    await storage.save_job(JobRecord(id="a", name="A"))
    good = path.read_text()
    path.write_text(spoil(good))
    spoiled = path.read_bytes()
    for call in (storage.get_job("a"), storage.save_job(JobRecord(id="b")), FileStorage(path).list_jobs()):
        with pytest.raises(StorageCorruptError, match=rf"jobs\{ending}, line \d+: .*\.bak"):
            await call
    assert path.read_bytes() == spoiled
    path.write_text(good)
    assert [record.id for record in await storage.list_jobs()] == ["a"]


async def test_a_file_that_is_not_text_is_refused_with_its_line(tmp_path: Path) -> None:
    """A line is what an editor can go to."""
    (tmp_path / "jobs.json").write_bytes(b'{\n\n"a": "\xff"}')
    with pytest.raises(StorageError, match="line 3: is not UTF-8"):
        await FileStorage(tmp_path / "jobs.json").list_jobs()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "bad",
    [{"nextRun": "soon"}, {"nextRun": "2026-01-02T03:04:05"}, {"status": 9}, {"runCount": "many"},
     {"paused": "perhaps"},
     {"options": "{"}, {"options": '{"max_runs": -1}'}, {"schedule": "x"}, {"flights": ["x"]}, {"flights": 5},
     {"flights": "x"}, {"options": "[" * 100_000}, {"owner": ["x"]}],
    ids=lambda bad: f"{bad}"[:40],
)  # fmt: skip
async def test_a_record_that_cannot_be_read_costs_that_record(
    tmp_path: Path, ending: str, bad: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported and kept as it stands; the others run on."""
    form = FORMATS[ending]
    path = tmp_path / f"jobs{ending}"
    path.write_bytes(form.encode({"jobs": [{"id": "bad", "name": "B", **bad}, {"id": "good", "name": "G"}]}))
    storage = FileStorage(path)
    assert [record.id for record in await storage.list_jobs()] == ["good"]
    assert list((await storage.due(NOW, NOW)).unreadable) == ["bad"]
    with pytest.raises(StorageCorruptError, match="'bad' cannot be read") as refused:
        await storage.get_job("bad")
    assert refused.value.job_id == "bad"
    await FileStorage(path).save_job(JobRecord(id="new"))
    assert len(await storage.list_jobs()) == 2
    assert [record.message.count("'bad'") for record in caplog.records if record.name == "chrono_async"] == [1, 1]
    document = form.decode(path.read_bytes())
    assert isinstance(document, dict)
    before = form.decode(form.encode({"jobs": [{"id": "bad", "name": "B", **bad}]}))
    assert isinstance(before, dict)
    assert before["jobs"][0] in document["jobs"]
    assert [record.id for record in await FileStorage(path).list_jobs()] == ["good", "new"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("written", "job_id"), [("bad", "bad"), (7, "7"), (2.5, "2.5"), (True, "true")])
async def test_a_record_that_cannot_be_read_is_never_doubled(
    tmp_path: Path, ending: str, written: object, job_id: str
) -> None:
    """Nobody adds or locks a job of its id, however that is written, until a person has put the record right."""
    form, path = FORMATS[ending], tmp_path / f"jobs{ending}"
    good: dict[str, object] = {"id": written, "name": "B", "runCount": 3}
    before = form.encode({"jobs": [good | {"runCount": "many"}]})
    path.write_bytes(before)
    storage, record = FileStorage(path), JobRecord(id=job_id, name="N")
    assert list((await storage.due(NOW, NOW)).unreadable) == [job_id]
    for call in (storage.save_job(record), storage.register(record), storage.acquire_lock(job_id, "me", MINUTE)):
        with pytest.raises(StorageCorruptError, match="cannot be read") as refused:
            await call
        assert refused.value.job_id == job_id
    assert path.read_bytes() == before
    path.write_bytes(form.encode({"jobs": [good]}))
    joined = await storage.register(record)
    assert (joined.verdict, joined.record.run_count) == (RegisterVerdict.JOINED, 3)
    assert await storage.acquire_lock(job_id, "me", MINUTE)
    await storage.save_job(record)
    assert await FileStorage(path).list_jobs() == [record]


async def test_of_two_records_the_one_that_can_be_read_is_the_job(tmp_path: Path) -> None:
    """A person may have written both; the other is kept as it stands."""
    path, odd = tmp_path / "jobs.json", {"id": "a", "runCount": "many"}
    path.write_text(json.dumps({"jobs": [odd, {"id": "a", "runCount": 3}]}))
    storage = FileStorage(path)
    assert (await storage.register(JobRecord(id="a"))).record.run_count == 3
    assert await storage.acquire_lock("a", "me", MINUTE)
    await storage.save_job(JobRecord(id="a", name="N"))
    assert (await FileStorage(path).get_job("a")).name == "N"
    assert odd in json.loads(path.read_text())["jobs"]


@pytest.mark.parametrize(
    ("part", "bad"),
    [
        ("locks", {"jobId": "a", "until": "soon"}), ("locks", {"jobId": ["a"], "until": 5}), ("locks", 5),
        ("runs", {"jobId": "a", "fireTime": "2026-01-02T03:04:05Z", "status": "odd"}), ("runs", "x"),
        *(("instances", {"instanceId": "x", **ALIVE, "jobs": jobs})
          for jobs in ("5", "[", "{}", '"ab"', "[5]", '[5, "a"]', "[[]]", "[" * 100_000, ["a"])),
        ("instances", {"instanceId": "x", "started": "2026-01-02T03:04:05Z"}),
    ],
    ids=lambda value: f"{value}"[:60],
)  # fmt: skip
async def test_what_is_no_job_and_cannot_be_read_is_told_of_and_passed_over(
    tmp_path: Path, part: str, bad: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Be it a lock, a run or an instance: it costs itself, not the file."""
    path = tmp_path / "jobs.json"
    path.write_text(json.dumps({"bootId": boot_id(), "jobs": [{"id": "a", "name": "A"}], part: [bad]}))
    storage = FileStorage(path)
    assert [record.id for record in await storage.list_jobs()] == ["a"]
    assert f"{part[:-1]} in the state file cannot be read" in caplog.text
    assert await storage.list_instances() == await storage.list_runs() == []
    await storage.save_job(JobRecord(id="new"))
    assert [record.id for record in await FileStorage(path).list_jobs()] == ["a", "new"]
