"""What a process asks of the C library, which holds for all of it: looked at in one of its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

from support.gaps import gap

ROUNDS = """
import resource
from qss.app.process import settle_memory
{first}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"k" * (1 << 20) for _ in range(8)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(8)][-1])
"""


def faults(first: str) -> int:
    """Return how many pages a process asks for when it makes and drops 8 MiB of blocks, as it has often done before."""
    script = ROUNDS.format(first=first)
    return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)


def test_memory_of_blocks_that_come_and_go_is_not_given_back_each_time() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        gap("the C library is not glibc", "run it on Linux with glibc")
    assert faults("settle_memory()") < 100 < 1000 < faults("")
