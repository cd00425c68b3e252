"""
From a URL to a storage.
"""

from importlib import import_module
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from ..errors import InvalidOptionError
from .base import LeasingStorage


class Kind(NamedTuple):
    """Where a storage's class lives, and whether it is given a path or the URL as it is."""

    module: str
    name: str
    takes_path: bool = False


_KINDS = {
    "file": Kind("file", "FileStorage", takes_path=True),
    "sqlite": Kind("sqlite", "SQLiteStorage", takes_path=True),
    "postgres": Kind("postgres", "PostgresStorage"),
    "postgresql": Kind("postgres", "PostgresStorage"),
    "redis": Kind("redis", "RedisStorage"),
    "rediss": Kind("redis", "RedisStorage"),
}


def open_storage(url: str) -> LeasingStorage:
    """
    Return the storage that a URL names; it connects when it is first used.

    `memory:`, `file:jobs.yaml`, `file:///var/lib/app/jobs.json`, `sqlite:jobs.db`, or just the path of a state file.
    """
    scheme, colon, _ = url.partition(":")
    if scheme == "memory" and colon:
        return cast(LeasingStorage, _load(Kind("memory", "InMemoryStorage"), url)())
    if not colon or scheme not in _KINDS:
        return cast(LeasingStorage, _load(_KINDS["file"], url)(_refuse_other_schemes(url)))
    kind = _KINDS[scheme]
    return cast(LeasingStorage, _load(kind, url)(_path(url) if kind.takes_path else url))


def _refuse_other_schemes(url: str) -> str:
    if "://" in url:
        raise InvalidOptionError("url", url, f"unsupported: use memory:, {':, '.join(_KINDS)}: or a path")
    return url


def _path(url: str) -> str:
    parts = urlsplit(url)
    return unquote(parts.netloc + parts.path)


def _load(kind: Kind, url: str) -> type[Any]:
    """Return the storage's class. Its module is imported on demand, for its borrowed driver's sake."""
    try:
        module = import_module(f".{kind.module}", __package__)
    except ModuleNotFoundError as error:
        if error.name != f"{__package__}.{kind.module}":
            raise
        raise InvalidOptionError("url", url, f"unsupported: this version has no {kind.name}") from None
    return cast(type[Any], getattr(module, kind.name))
