"""The barrier: turns a store of ciphertext into the `SealedStore` that the runtime takes, and nothing else.

Key material is sealed before a store sees it, and opened after; ledger rows pass through as they are. Without a data
key every operation raises.
"""

from qss.barrier.barrier import Barrier
from qss.barrier.sealed_off import SealedOff

__all__ = ["Barrier", "SealedOff"]
