"""What a process that holds keys asks of the operating system before it holds any, and of the interpreter later."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def harden_process() -> None:
    """Leave no core dump, which would hold keys, and take as many file descriptors as this process may have.

    Linux also keeps other processes of the same user from reading this one's memory; root can still.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:  # macOS says infinity, and refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def settle_memory() -> None:
    """Spare later garbage collections what there is by now: it lives as long as the process, and is most of it."""
    gc.collect()
    gc.freeze()
