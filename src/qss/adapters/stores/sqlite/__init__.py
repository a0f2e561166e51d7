"""The embedded store: one SQLite file (through apsw) in WAL mode with `synchronous=FULL`.

Three connections, each used by one thread of its own: the `writer` groups commits, a reader answers `contents` and
`blocks`, and the `checkpointer` moves the log into the main file off the commit path. Ledger rows are readable to
SQL; blocks come sealed. Back-ups are taken by `backup` on a connection of its own, also while the store is in use.

Refused here: key material, retries, and creating a store by opening it.
"""

from qss.adapters.stores.sqlite.backup import back_up_ledger, restore_ledger
from qss.adapters.stores.sqlite.erasing import erase_blocks
from qss.adapters.stores.sqlite.lock import take_lock, was_started
from qss.adapters.stores.sqlite.schema import check_unopened, create_store
from qss.adapters.stores.sqlite.store import SqliteStore

__all__ = [
    "SqliteStore",
    "back_up_ledger",
    "check_unopened",
    "create_store",
    "erase_blocks",
    "restore_ledger",
    "take_lock",
    "was_started",
]
