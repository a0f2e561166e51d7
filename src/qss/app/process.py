"""What a process that holds keys asks of the operating system before it holds any."""

from __future__ import annotations

import ctypes
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
