"""Every key source that must keep the port's contract: each test runs on two ends of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qss.ports.key_source import KeySource
from qss.transport.dialling import connect
from qss.transport.listening import Listener, Route
from qss.wire import sync
from support.module_runners import TwoModules, until
from support.pki import Pki
from support.southbounds import Southbounds


@dataclass(frozen=True)
class Sources:
    """The initiator's end `a` and the responder's end `b`, ready to open."""

    a: KeySource
    b: KeySource


@pytest.fixture(params=["memory", "websocket", "etsi004"])
async def sources(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sources]:
    """Modules in this process, their Sync in memory or over mutual TLS; and modules that are called by ETSI 004."""
    modules = TwoModules()
    if request.param == "etsi004":
        async with modules, Southbounds(modules, Pki(tmp_path)) as southbounds:
            yield Sources(southbounds.a, southbounds.b)
        return
    if request.param == "memory":
        async with modules:
            yield Sources(modules.a, modules.b)
        return
    pki = Pki(tmp_path)
    route = Route((sync.SUBPROTOCOL,), modules.b.serve, sync.MAX_FRAME_BYTES)
    listener = Listener("127.0.0.1", 0, pki.server_context("B"), {"/sync": route})
    await listener.start()
    connection = await connect(
        f"wss://127.0.0.1:{listener.address[1]}/sync",
        pki.client_context("A"),
        subprotocols=(sync.SUBPROTOCOL,),
        max_frame=sync.MAX_FRAME_BYTES,
    )
    modules.serve(modules.a.serve, connection)
    await until(lambda: all(module.status().phase != "down" for module in (modules.a, modules.b)))
    yield Sources(modules.a, modules.b)
    await modules.__aexit__()
    await asyncio.wait_for(listener.close(), 5)
