"""
Where jobs are kept: the two protocols, and the storages that come with the library.

Names are loaded when they are first asked for, so that a storage's borrowed packages are imported by those who use it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..claims import ClaimAnswer as ClaimAnswer
    from ..claims import ClaimRequest as ClaimRequest
    from ..claims import ClaimVerdict as ClaimVerdict
    from ..claims import DuePage as DuePage
    from ..claims import Early as Early
    from ..claims import Gone as Gone
    from ..claims import Granted as Granted
    from ..claims import Held as Held
    from ..claims import Lease as Lease
    from ..claims import Moved as Moved
    from ..claims import Outcome as Outcome
    from ..claims import PointerMove as PointerMove
    from ..claims import Registered as Registered
    from ..claims import RegisterVerdict as RegisterVerdict
    from ..claims import Release as Release
    from ..claims import RenewAnswer as RenewAnswer
    from ..claims import SettleAnswer as SettleAnswer
    from ..claims import Settled as Settled
    from ..claims import SettleVerdict as SettleVerdict
    from ..models import Definition as Definition
    from ..models import Due as Due
    from ..models import Flight as Flight
    from ..models import Trigger as Trigger
    from ..models import due_of as due_of
    from ..policies import Policies as Policies
    from ._ledger.ledger import Call as Call
    from ._ledger.ledger import Ledger as Ledger
    from ._ledger.optimistic import OptimisticLedger as OptimisticLedger
    from ._ledger.optimistic import Reading as Reading
    from ._ledger.optimistic import Written as Written
    from ._ledger.sheet import Change as Change
    from ._ledger.sheet import Floors as Floors
    from ._ledger.sheet import Kept as Kept
    from ._ledger.sheet import Sheet as Sheet
    from ._ledger.sheet import Stored as Stored
    from ._ledger.texts import job_from_json as job_from_json
    from ._ledger.texts import job_to_json as job_to_json
    from ._ledger.texts import run_from_json as run_from_json
    from ._ledger.texts import run_to_json as run_to_json
    from ._table.shelf import Moment as Moment
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

_RECORDS = ("Definition", "Due", "Flight", "Trigger", "due_of")
_CLAIMS = (
    "ClaimAnswer",
    "ClaimRequest",
    "ClaimVerdict",
    "DuePage",
    "Early",
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
)
"""What the leasing verbs are asked and answer: for authors of storages."""

_PIECES = {
    "Call": "._ledger.ledger",
    "Change": "._ledger.sheet",
    "Floors": "._ledger.sheet",
    "Kept": "._ledger.sheet",
    "Ledger": "._ledger.ledger",
    "Moment": "._table.shelf",
    "OptimisticLedger": "._ledger.optimistic",
    "Reading": "._ledger.optimistic",
    "Sheet": "._ledger.sheet",
    "Stored": "._ledger.sheet",
    "Written": "._ledger.optimistic",
    "job_from_json": "._ledger.texts",
    "job_to_json": "._ledger.texts",
    "run_from_json": "._ledger.texts",
    "run_to_json": "._ledger.texts",
}
"""What a storage is built of whose medium reads by key and writes on condition: for authors, too."""

_HOMES = {
    **dict.fromkeys(_RECORDS, "..models"),
    **dict.fromkeys(_CLAIMS, "..claims"),
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
    "Call",
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
