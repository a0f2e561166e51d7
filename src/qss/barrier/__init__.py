"""The barrier: turns a store of ciphertext into the `SealedStore` that the runtime takes, and nothing else.

Key material is sealed before a store sees it, and opened after; ledger rows pass through as they are. Closed, every
operation raises.
"""

from qss.barrier.barrier import Barrier

__all__ = ["Barrier"]
