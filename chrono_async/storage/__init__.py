"""
Where jobs are kept: the two protocols, and the storages that come with the library.

Names are loaded when they are first asked for, so that a storage's borrowed packages are imported by those who use it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..models import ClaimAnswer as ClaimAnswer
    from ..models import ClaimRequest as ClaimRequest
    from ..models import ClaimVerdict as ClaimVerdict
    from ..models import Definition as Definition
    from ..models import Due as Due
    from ..models import DuePage as DuePage
    from ..models import Early as Early
    from ..models import Flight as Flight
    from ..models import Gone as Gone
    from ..models import Granted as Granted
    from ..models import Held as Held
    from ..models import Lease as Lease
    from ..models import Moved as Moved
    from ..models import Outcome as Outcome
    from ..models import PointerMove as PointerMove
    from ..models import Registered as Registered
    from ..models import RegisterVerdict as RegisterVerdict
    from ..models import Release as Release
    from ..models import RenewAnswer as RenewAnswer
    from ..models import SettleAnswer as SettleAnswer
    from ..models import Settled as Settled
    from ..models import SettleVerdict as SettleVerdict
    from ..models import Trigger as Trigger
    from ..policies import Policies as Policies
    from .base import LeasingStorage as LeasingStorage
    from .base import SettlesInTransaction as SettlesInTransaction
    from .base import Storage as Storage
    from .file import FileStorage as FileStorage
    from .memory import InMemoryStorage as InMemoryStorage
    from .opening import open_storage as open_storage
    from .portable import PortableStorage as PortableStorage
    from .portable import as_leasing as as_leasing
    from .postgres import PostgresStorage as PostgresStorage
    from .redis import RedisStorage as RedisStorage
    from .sqlite import SQLiteStorage as SQLiteStorage

_VALUES = (
    "ClaimAnswer",
    "ClaimRequest",
    "ClaimVerdict",
    "Definition",
    "Due",
    "DuePage",
    "Early",
    "Flight",
    "Gone",
    "Granted",
    "Held",
    "Lease",
    "Moved",
    "Outcome",
    "PointerMove",
    "Registered",
    "RegisterVerdict",
    "Release",
    "RenewAnswer",
    "SettleAnswer",
    "Settled",
    "SettleVerdict",
    "Trigger",
)
"""What the leasing verbs are asked and answer: for authors of storages."""

_HOMES = {
    **dict.fromkeys(_VALUES, "..models"),
    "Policies": "..policies",
    "FileStorage": ".file",
    "InMemoryStorage": ".memory",
    "LeasingStorage": ".base",
    "PortableStorage": ".portable",
    "PostgresStorage": ".postgres",
    "RedisStorage": ".redis",
    "SQLiteStorage": ".sqlite",
    "SettlesInTransaction": ".base",
    "Storage": ".base",
    "as_leasing": ".portable",
    "open_storage": ".opening",
}

__all__ = [
    "ClaimAnswer",
    "ClaimRequest",
    "ClaimVerdict",
    "Definition",
    "Due",
    "DuePage",
    "Early",
    "FileStorage",
    "Flight",
    "Gone",
    "Granted",
    "Held",
    "InMemoryStorage",
    "Lease",
    "LeasingStorage",
    "Moved",
    "Outcome",
    "PointerMove",
    "Policies",
    "PortableStorage",
    "PostgresStorage",
    "RedisStorage",
    "RegisterVerdict",
    "Registered",
    "Release",
    "RenewAnswer",
    "SQLiteStorage",
    "SettleAnswer",
    "SettleVerdict",
    "Settled",
    "SettlesInTransaction",
    "Storage",
    "Trigger",
    "as_leasing",
    "open_storage",
]


def __getattr__(name: str) -> object:
    """Load a name from the module that it lives in."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
