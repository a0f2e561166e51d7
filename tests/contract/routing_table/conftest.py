"""Every routing table that must keep the port's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.pki import Pki
from support.routing_tables import Tables, in_its_own_process, inside, neighbour

KINDS = {"inside": inside, "process": in_its_own_process}


@pytest.fixture(params=KINDS)
async def tables(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tables]:
    pki = Pki(tmp_path / "pki")
    async with AsyncExitStack() as stack:
        there, address = await stack.enter_async_context(neighbour(pki))
        yield Tables(await stack.enter_async_context(KINDS[request.param](pki, address)), there, pki)
