"""How a test says that this machine cannot run it: what is missing, and what would help.

`make test` lists the gaps at its end; where CI is true, a gap is a failure. No test skips in any other way.
"""

from __future__ import annotations

from typing import NoReturn

import pytest


def gap(missing: str, remedy: str) -> NoReturn:
    """End the running test as one that this machine cannot run."""
    pytest.skip(f"{missing}; remedy: {remedy}")
