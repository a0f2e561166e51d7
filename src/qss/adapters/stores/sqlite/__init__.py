"""The embedded store: one SQLite file (through apsw) in WAL mode with `synchronous=FULL`.

Three connections, each used by one thread of its own: the `writer` groups commits, a reader answers `contents` and
`blocks`, and the `checkpointer` moves the log into the main file off the commit path. Ledger rows are readable to
SQL; blocks come sealed. Refused here: key material, retries, and creating a store by opening it.
"""

from qss.adapters.stores.sqlite.schema import create_store
from qss.adapters.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "create_store"]
