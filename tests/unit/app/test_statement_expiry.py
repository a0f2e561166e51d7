"""A site's routing looks anew at who is at home where once a statement that counted has expired."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import cast

import pytest

from qss.app import site_routing
from qss.app.site_routing import SiteRouting
from qss.model.identifiers import QksId, SaeId
from qss.runtime.routing import RoutingModule
from support.homes import stated
from support.one_site import made_place

B, BOB = QksId("B"), SaeId("sae:bob")


class Module:
    """Says of one home, whenever it judges anew, whether it counts."""

    def __init__(self, routing: SiteRouting, statement: bytes) -> None:
        self._routing, self._statement = routing, statement
        self.judged = [self._counts()]

    def judge_anew(self) -> None:
        self.judged.append(self._counts())

    def _counts(self) -> bool:
        return self._routing._counts(BOB, B, self._statement)


async def test_homes_are_judged_anew_when_a_statement_has_expired_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_routing, "EXPIRY_S", 0.05)
    place = await made_place(tmp_path)
    configuration = place.configuration()
    routing = SiteRouting(QksId("A"), configuration.tls, configuration.routing, [B], lambda _: None)
    end = int(time.time()) + 2
    module = Module(routing, stated(place.pki, BOB, B, end))
    routing._running = cast("RoutingModule", module)
    watching = asyncio.create_task(routing._watch_statements())
    try:
        async with asyncio.timeout(10):
            while len(module.judged) < 2:
                assert time.time() < end + 5
                await asyncio.sleep(0.01)
        told_at = time.time()
        await asyncio.sleep(0.3)
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    assert module.judged in ([True, False], [True, False, False])  # and not again and again
    assert told_at >= end
