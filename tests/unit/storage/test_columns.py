"""Batches of rows, column by column."""

import pytest

from chrono_async.storage._ledger.columns import changed_columns, encoded_column, is_uniform


def test_a_column_is_written_where_any_of_its_rows_has_changed() -> None:
    befores = [("a", 1, None, "x"), ("b", 1, 5, "x")]
    rows = [("a", 2, None, "x"), ("b", 1, None, "x")]
    assert changed_columns(befores, rows) == {1: (2, 1), 2: (None, None)}


def test_what_is_always_written_is_there_unchanged_too() -> None:
    assert changed_columns([("a", 1)], [("a", 2)], always={0}) == {0: ("a",), 1: (2,)}


@pytest.mark.parametrize(
    ("column", "encoded"),
    [((1, 1, 1), (-1, -1, -1)), ((1, 2), [-1, -2]), ((None, 1), [None, -1]), ((None, None), (None, None))],
)
def test_each_value_is_encoded_and_none_stays(column: tuple[int | None, ...], encoded: object) -> None:
    assert encoded_column(lambda number: -number, column) == encoded


def test_what_a_batch_has_in_common_is_encoded_once() -> None:
    asked: list[int] = []
    encoded_column(asked.append, (7,) * 100)
    assert asked == [7]


@pytest.mark.parametrize(
    ("column", "uniform"), [((1, 1), True), ((1, 2, 1), False), (("a",), True), ((None, 1), False)]
)
def test_a_column_is_uniform_if_all_its_values_are_the_same(column: tuple[object, ...], uniform: bool) -> None:
    assert is_uniform(column) is uniform
