"""Jobs as flat rows, as they are written and as they have been."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from chrono_async.models import JobRecord, Trigger
from chrono_async.storage._ledger.rows import COLUMNS, kept_of, row_of
from chrono_async.storage._ledger.sheet import Kept
from chrono_async.storage._table.instants import microseconds_of

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("manual", "values"),
    [
        (Trigger(NOW, "{}", 2), [microseconds_of(NOW), "{}", 2]),
        (Trigger(NOW, "", 0, 3), [microseconds_of(NOW), "", 0, 3, None]),
        (Trigger(NOW, "", 0, 0, LATER), [microseconds_of(NOW), "", 0, 0, microseconds_of(LATER)]),
    ],
)
def test_a_manual_run_has_tries_and_a_pause_only_where_it_has_made_some(manual: Trigger, values: list[object]) -> None:
    """So it is read as it was written before there were any, and then says the same."""
    row = row_of("a", Kept(JobRecord(id="a", manual=manual), None, {}))
    assert json.loads(row[COLUMNS.index("manual")]) == values
    record = kept_of(row).record
    assert record is not None
    assert record.manual == manual
