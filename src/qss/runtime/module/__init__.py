"""The QKD module's shell: one device, Sync with the peer module, and a key source for the QKS of the same process.

================  ==================================================================================
`qkd_module`      events in, effects out; holds the bytes that its core names by number
`registering`     the module's registration at its QKS, where it is a process of its own
`chunks`          a stream's accepted bytes, cut into chunks and handed out once
`southbound`      serves ETSI GS QKD 004 from a module: calls to its core, and answers back
`adapter_faults`  what nobody expected of an adapter
`adjusting`       changes a simulated device while it runs
`channel`         the device's channel to its other end, inside Sync
`status`          what a module says of itself
================  ==================================================================================
"""

from qss.runtime.module.qkd_module import QkdModule
from qss.runtime.module.status import ModuleStatus

__all__ = ["ModuleStatus", "QkdModule"]
