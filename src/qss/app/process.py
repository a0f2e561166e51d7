"""What a process that holds keys asks of the operating system before it holds any, and of the interpreter later."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc

_KEPT_FREE_BYTES = 16 << 20


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
    """Spare later garbage collections what there is by now, and keep freed memory for what comes next.

    Call it once, when a process has started.

    Nearly all that there is by then (code, tables, what was imported) lives as long as the process. Looking through it
    took the full collection of a node 40 ms, in which nothing was answered; without, it takes 5. What of it does end
    goes by reference count, as ever; only rings of it would stay.
    """
    gc.collect()
    gc.freeze()
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Give memory back to the operating system only when 16 MiB of it are free.

    Blocks of key come and go by the hundred in a second, and by itself the C library has each of their pages taken
    away, and cleared and given again for the next. Other libraries than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_FREE_BYTES)
