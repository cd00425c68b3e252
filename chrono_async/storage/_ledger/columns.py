"""
A batch of rows, column by column: to handle values one at a time costs a step of Python's each, columns only a few.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

Row = Sequence[Any]
"""The values of a job or a run, in the order of the table's columns."""
Column = Sequence[Any]
"""The values that all rows of the batch have in one place."""


def changed_columns(befores: Iterable[Row], rows: Iterable[Row], always: Collection[int] = ()) -> Mapping[int, Column]:
    """Return, by place, the columns in which any of the rows is not what it was before, and those of `always`."""
    sides = zip(zip(*befores, strict=True), zip(*rows, strict=True), strict=True)
    return {place: now for place, (was, now) in enumerate(sides) if now != was or place in always}


def is_uniform(column: Column) -> bool:
    """Whether all values are the same, of which there are some: a batch has mostly one lease's end, or one status."""
    return column.count(column[0]) == len(column)


def encoded_column(encode: Callable[[Any], Any], column: Column) -> Column:
    """Return the column with each value encoded; None stays what it is."""
    if is_uniform(column):
        return (None if column[0] is None else encode(column[0]),) * len(column)
    return [None if value is None else encode(value) for value in column]
