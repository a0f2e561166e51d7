"""The end of all sealed key in a store whose data key was destroyed. The ledger stays.

Refused here: stores in use; the caller holds the lock.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from qss.adapters.stores.sqlite.faults import as_store_errors
from qss.adapters.stores.sqlite.schema import check_release, connect

# What one transaction erases goes through the log as well, which therefore needs this much room on the disk.
_BLOCKS_AT_ONCE = 256

_ERASE_SOME = "DELETE FROM blocks WHERE id IN (SELECT id FROM blocks LIMIT ?)"


def erase_blocks(path: Path) -> None:
    """Erase every sealed block, and have its pages overwritten, those of the log as well.

    Raises `StoreError` if there is no store of this release, `StoreUnavailable` if the disk refuses; it can be
    repeated then.
    """
    with as_store_errors(path):
        connection = connect(path)
        try:
            check_release(connection, path)
            while True:
                connection.execute(_ERASE_SOME, (_BLOCKS_AT_ONCE,))
                erased = connection.changes()
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                if not erased:
                    return
        finally:
            connection.close()
