"""Routing modules on connections in memory, with real signatures: they find each other, and part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from structlog.testing import capture_logs

from qss.core.routing import Origin, Router, RouterSettings
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load, SiteState
from qss.pki.statements import Judge, Signer
from qss.runtime.routing import RoutingModule
from qss.simulation.routing import state_home
from qss.wire import routing as wire
from support.connections import memory_pair
from support.module_runners import raise_defect, until
from support.pki import Pki

A, B, C = QksId("A"), QksId("B"), QksId("C")
LOAD = Load(1 << 20, 1 << 20)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("routing") / "pki")


def stated(site: QksId, *saes: str) -> dict[SaeId, bytes | None]:
    return {SaeId(sae): state_home(SaeId(sae), site) for sae in saes}


class Line:
    """Three sites in a line."""

    def __init__(self, pki: Pki) -> None:
        self.neighbours = {A: [B], B: [A, C], C: [B]}
        self.modules = {site: self._module(pki, site) for site in self.neighbours}
        self.tasks: list[asyncio.Task[None]] = []

    def _module(self, pki: Pki, site: QksId) -> RoutingModule:
        pair = pki.site(site)
        signer, judge = Signer(pair.certificate, pair.key), Judge(pki.authority)

        def sign(body: bytes) -> wire.Authentication:
            return wire.Authentication(signer.algorithm, signer.certificates, signer.sign(body))

        def verify(origin: QksId, body: bytes, said: wire.Authentication) -> None:
            judge.check(origin, body, said.algorithm, said.certificates, said.signature)

        router = Router(
            Origin(wire.Source(site, "h", 1), wire.Endpoint("h", 2)), sign, verify, lambda *_: True, RouterSettings()
        )
        return RoutingModule(router, self.neighbours[site], raise_defect)

    def state(self, site: QksId) -> SiteState:
        return SiteState(stated(site, f"sae:{site}"), links=dict.fromkeys(self.neighbours[site], LOAD))

    def connect(self, one: QksId, other: QksId) -> None:
        ends = memory_pair(64, f"qks:{one}", f"qks:{other}")
        for site, peer, connection in zip((one, other), (other, one), ends, strict=True):
            self.tasks.append(asyncio.create_task(self.modules[site].serve(peer, connection)))

    def sees(self, site: QksId) -> dict[str, tuple[str | None, int]]:
        """Return each SAE's next hop and distance."""
        return {route.sae: (route.next_hop, route.length) for route in self.modules[site].routes()}


@asynccontextmanager
async def running(pki: Pki) -> AsyncIterator[Line]:
    line = Line(pki)
    for site, module in line.modules.items():
        module.start()
        module.publish(line.state(site))
    try:
        line.connect(A, B)
        line.connect(B, C)
        yield line
    finally:
        await asyncio.gather(*(module.stop() for module in line.modules.values()))
        await asyncio.gather(*line.tasks)


FROM_A = {"sae:A": ("A", 0), "sae:B": ("B", 1), "sae:C": ("B", 2)}


async def test_who_is_where_is_known_at_all_sites(pki: Pki) -> None:
    async with running(pki) as line:
        await until(lambda: line.sees(A) == FROM_A)
        await until(lambda: line.sees(C) == {"sae:A": ("B", 2), "sae:B": ("B", 1), "sae:C": ("C", 0)})
        assert line.modules[A].graph.edges[A][B].available_bits == 1 << 20


async def test_a_link_that_goes_down_is_no_way_and_whoever_leaves_is_forgotten(pki: Pki) -> None:
    async with running(pki) as line:
        await until(lambda: line.sees(A) == FROM_A)
        changes = []
        line.modules[A].watch(partial(changes.append, "changed"))
        line.modules[B].publish(replace(line.state(B), links={A: LOAD}))
        await until(lambda: line.sees(A) == FROM_A | {"sae:C": (None, 0)})
        assert changes
        await line.modules[C].stop()
        await until(lambda: "sae:C" not in line.sees(A))


async def test_a_connection_that_ends_is_no_way_and_a_new_one_is(pki: Pki) -> None:
    async with running(pki) as line:
        await until(lambda: line.sees(A) == FROM_A)
        line.modules[B]._sessions[C].disconnect("test")
        await until(lambda: line.sees(A)["sae:C"] == (None, 0))
        line.connect(B, C)
        await until(lambda: line.sees(A) == FROM_A)


async def test_what_was_not_signed_is_dropped_and_logged_once(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(pki) as line:
        await until(lambda: line.sees(A) == FROM_A)

        def refuse(*_: object) -> None:
            raise Unauthorised("not signed")

        monkeypatch.setattr(line.modules[A].router._admission, "_verify", refuse)
        with capture_logs() as logs:
            for number in range(3):
                line.modules[C].publish(replace(line.state(C), saes=stated(C, f"sae:{number}")))
                await until(lambda n=number: sum(line.modules[A].router.dropped.values()) > n)  # type: ignore[misc]
        told = [log for log in logs if log["event"] == "an LSA was dropped"]
        assert [(log["peer"], log["reason"], log["origin"]) for log in told] == [(B, "signature", C)]
        assert line.sees(A) == FROM_A


async def test_a_home_that_is_configured_counts_whatever_is_told(pki: Pki) -> None:
    async with running(pki) as line:
        await until(lambda: line.sees(A) == FROM_A)
        line.modules[A].publish(replace(line.state(A), homes={SaeId("sae:C"): B, SaeId("sae:silent"): C}))
        assert line.sees(A) == FROM_A | {"sae:C": ("B", 1), "sae:silent": ("B", 2)}


async def test_an_error_while_a_table_is_made_is_a_defect_and_no_key_request_makes_one(pki: Pki) -> None:
    line, defects = Line(pki), list[BaseException]()
    module = RoutingModule(line.modules[A].router, [B], defects.append)

    def fail() -> None:
        raise ValueError("a defect")

    module.router.calculate = fail  # type: ignore[method-assign, assignment]
    module.publish(line.state(A))
    assert module.route(SaeId("sae:A")) is None
    assert defects == []
    await until(lambda: bool(defects))
    assert [str(defect) for defect in defects] == ["a defect"]
    module.publish(replace(line.state(A), saes={}))
    assert module.route(SaeId("sae:A")) is None


async def test_saes_that_cannot_be_told_are_named_in_the_log_and_counted(pki: Pki) -> None:
    async with running(pki) as line:
        await until(lambda: line.sees(A) == FROM_A)
        module = line.modules[C]
        with capture_logs() as logs:
            module.publish(replace(line.state(C), saes=stated(C, "sae:C", "x" * 256)))
            module.publish(replace(line.state(C), saes=stated(C, "sae:C", "x" * 256)))
            assert module.router.untold == ("x" * 256,)
            module.publish(line.state(C))
        assert [(log["log_level"], log.get("count"), log.get("saes")) for log in logs] == [
            ("warning", 1, ["x" * 256]),
            ("info", None, None),
        ]
        assert module.router.untold == ()
        await until(lambda: line.sees(A) == FROM_A)
