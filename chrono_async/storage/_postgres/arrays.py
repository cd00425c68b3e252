"""
Columns as PostgreSQL writes arrays in text. A list would do, but the driver asks of each of its values whether that is
a list in turn, which costs more than all else that is done to it.
"""

from .._ledger.columns import Column


def of_numbers(column: Column) -> str:
    """Return numbers or truth values as an array; None is null."""
    return "{" + ",".join(map(str, column)).replace("None", "NULL") + "}"


def of_texts(column: Column) -> str:
    """Return texts as an array; None is null. A null character stays what it is, for the server to refuse."""
    if None not in column:
        joined = "\0".join(column)
        if joined.count("\0") == len(column) - 1:  # between the texts, and in none of them
            return '{"' + _escaped(joined).replace("\0", '","') + '"}'
    return "{" + ",".join("NULL" if text is None else f'"{_escaped(text)}"' for text in column) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
