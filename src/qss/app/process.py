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
    """Spare later garbage collections what there is by now; call it once, when a process has started.

    Nearly all of it (code, tables, what was imported) lives as long as the process. Looking through it took the full
    collection of a node 40 ms, in which nothing was answered; without, it takes 5. What of it does end goes by
    reference count, as ever; only rings of it would stay.
    """
    gc.collect()
    gc.freeze()
