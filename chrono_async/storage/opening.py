"""
From a URL to a storage.
"""

from importlib import import_module
from os import PathLike
from typing import Any, NamedTuple, cast
from urllib.parse import quote, unquote

from ..errors import InvalidOptionError
from ._doors import without_password
from .base import LeasingStorage


class Kind(NamedTuple):
    """Where a storage's class lives, whether it is given a path or the URL as it is, and whether it has namespaces."""

    module: str
    name: str
    takes_path: bool = False
    has_namespaces: bool = True


_MEMORY = Kind("memory", "InMemoryStorage", has_namespaces=False)
_FILE = Kind("file", "FileStorage", takes_path=True, has_namespaces=False)
_KINDS = {
    "file": _FILE,
    "sqlite": Kind("sqlite", "SQLiteStorage", takes_path=True),
    "postgres": Kind("postgres", "PostgresStorage"),
    "postgresql": Kind("postgres", "PostgresStorage"),
    "redis": Kind("redis", "RedisStorage"),
    "rediss": Kind("redis", "RedisStorage"),
}


def open_storage(url: str, *, namespace: str | None = None, history: int | None = None) -> LeasingStorage:
    """
    Return the storage that a URL names; it connects when it is first used.

    `memory:`, `file:jobs.yaml`, `file:///var/lib/app/jobs.json`, `sqlite:jobs.db`, `postgresql://host/db`,
    `redis://host`, or just the path of a state file. `namespace` and `history`, the runs that are kept of each job, are
    the storage's own options.
    """
    kind, where = _kind_of(_text(url))
    options: dict[str, object] = {} if history is None else {"history": history}
    if namespace is not None:
        if not kind.has_namespaces:
            raise InvalidOptionError("namespace", namespace, f"{kind.name} has none")
        options["namespace"] = namespace
    return cast(LeasingStorage, _load(kind, url)(*where, **options))


def _text(url: object) -> str:
    if not isinstance(url, str):
        advice = f", such as {f'sqlite:{url}'!r} or {f'file:{url}'!r}" if isinstance(url, PathLike) else ""
        raise InvalidOptionError("url", url, f"must be text{advice}")
    return url


def _kind_of(url: str) -> tuple[Kind, tuple[str, ...]]:
    """Return the kind of storage, and what it is given to find its place."""
    scheme, colon, _ = url.partition(":")
    if scheme == "memory" and colon:
        return _MEMORY, ()
    if not colon or scheme not in _KINDS:
        return _FILE, (_refuse_other_schemes(url),)
    kind = _KINDS[scheme]
    return kind, (_path(url) if kind.takes_path else url,)


def _refuse_other_schemes(url: str) -> str:
    if not url or "://" in url:
        raise InvalidOptionError(
            "url", without_password(url), f"unsupported: use memory:, {':, '.join(_KINDS)}: or a path"
        )
    return url


def _path(url: str) -> str:
    path = url.partition(":")[2].removeprefix("//")
    for sign, part in (("?", "query"), ("#", "fragment")):
        if sign in path:
            problem = f"has a {part}, which means nothing here; write {quote(sign)} for a {sign!r} in a path"
            raise InvalidOptionError("url", url, problem)
    return unquote(path)


def _load(kind: Kind, url: str) -> type[Any]:
    """Return the storage's class. Its module is imported on demand, for its borrowed driver's sake."""
    try:
        module = import_module(f".{kind.module}", __package__)
    except ModuleNotFoundError as error:
        if error.name != f"{__package__}.{kind.module}":
            raise
        raise InvalidOptionError(
            "url", without_password(url), f"unsupported: this version has no {kind.name}"
        ) from None
    return cast(type[Any], getattr(module, kind.name))
