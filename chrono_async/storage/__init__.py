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
    from ..models import due_of as due_of
    from ..policies import Policies as Policies
    from ._ledger import Ledger as Ledger
    from ._optimistic import OptimisticLedger as OptimisticLedger
    from ._optimistic import Reading as Reading
    from ._optimistic import Written as Written
    from ._sheet import Change as Change
    from ._sheet import Floors as Floors
    from ._sheet import Kept as Kept
    from ._sheet import Sheet as Sheet
    from ._sheet import Stored as Stored
    from ._shelf import Moment as Moment
    from ._texts import job_from_json as job_from_json
    from ._texts import job_to_json as job_to_json
    from ._texts import run_from_json as run_from_json
    from ._texts import run_to_json as run_to_json
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
    "due_of",
)
"""What the leasing verbs are asked and answer: for authors of storages."""

_PIECES = {
    "Change": "._sheet",
    "Floors": "._sheet",
    "Kept": "._sheet",
    "Ledger": "._ledger",
    "Moment": "._shelf",
    "OptimisticLedger": "._optimistic",
    "Reading": "._optimistic",
    "Sheet": "._sheet",
    "Stored": "._sheet",
    "Written": "._optimistic",
    "job_from_json": "._texts",
    "job_to_json": "._texts",
    "run_from_json": "._texts",
    "run_to_json": "._texts",
}
"""What a storage is built of whose medium reads by key and writes on condition: for authors, too."""

_HOMES = {
    **dict.fromkeys(_VALUES, "..models"),
    **_PIECES,
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
    "Change",
    "ClaimAnswer",
    "ClaimRequest",
    "ClaimVerdict",
    "Definition",
    "Due",
    "DuePage",
    "Early",
    "FileStorage",
    "Flight",
    "Floors",
    "Gone",
    "Granted",
    "Held",
    "InMemoryStorage",
    "Kept",
    "Lease",
    "LeasingStorage",
    "Ledger",
    "Moment",
    "Moved",
    "OptimisticLedger",
    "Outcome",
    "PointerMove",
    "Policies",
    "PortableStorage",
    "PostgresStorage",
    "Reading",
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
    "Sheet",
    "Storage",
    "Stored",
    "Trigger",
    "Written",
    "as_leasing",
    "due_of",
    "job_from_json",
    "job_to_json",
    "open_storage",
    "run_from_json",
    "run_to_json",
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
