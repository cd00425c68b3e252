"""
Where jobs are kept: the two protocols, and the storages that come with the library.

Names are loaded when they are first asked for, so that a storage's borrowed packages are imported by those who use it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import LeasingStorage as LeasingStorage
    from .base import Storage as Storage
    from .file import FileStorage as FileStorage
    from .memory import InMemoryStorage as InMemoryStorage
    from .opening import open_storage as open_storage
    from .portable import PortableStorage as PortableStorage
    from .portable import as_leasing as as_leasing

_HOMES = {
    "FileStorage": "file",
    "InMemoryStorage": "memory",
    "LeasingStorage": "base",
    "PortableStorage": "portable",
    "Storage": "base",
    "as_leasing": "portable",
    "open_storage": "opening",
}

__all__ = [
    "FileStorage",
    "InMemoryStorage",
    "LeasingStorage",
    "PortableStorage",
    "Storage",
    "as_leasing",
    "open_storage",
]


def __getattr__(name: str) -> object:
    """Load a name from the module that it lives in."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
