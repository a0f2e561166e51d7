"""Keeping a connection to a neighbour: how long is waited, what is told, and whose site answers."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from structlog.testing import capture_logs

from qss.model.errors import ConnectionLost, RemoteProtocolError, Unauthorised
from qss.model.identifiers import QksId
from qss.runtime import connecting
from qss.runtime.connecting import call_peer, keep_connected
from support.scripted_connection import ScriptedConnection
from support.virtual_time import in_virtual_time, settled

B = QksId("B")


async def no_service(connection):
    raise AssertionError("there is no connection to serve")


async def running_for(seconds, call, serve=no_service, **options):
    """Keep connected for so long."""
    keeping = asyncio.create_task(keep_connected(B, call, serve, **options))
    await asyncio.sleep(seconds)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


@in_virtual_time
async def test_pauses_double_up_to_five_seconds_with_jitter():
    moments = []

    async def call():
        moments.append(asyncio.get_running_loop().time())
        raise ConnectionLost("nobody answers")

    await running_for(60, call)
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    longest = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2] + 100 * [5.0]
    assert len(pauses) >= 12
    for pause, most in zip(pauses, longest, strict=False):
        assert most / 2 <= pause <= most + 0.001
    assert len({round(pause, 3) for pause in pauses[6:]}) > 1


@pytest.mark.parametrize(("lasting", "most"), [(9, 5.0), (11, 0.1)])
@in_virtual_time
async def test_only_a_connection_that_lasted_resets_the_pause(lasting, most):
    ends, begins = [], []
    loop = asyncio.get_running_loop()
    failures = iter(range(10))

    async def call():
        if next(failures, None) is not None:
            raise ConnectionLost("nobody answers")
        begins.append(loop.time())
        return ScriptedConnection()

    async def serve(connection):
        await asyncio.sleep(lasting)
        ends.append(loop.time())

    await running_for(100, call, serve)
    pauses = [begin - end for end, begin in zip(ends, begins[1:], strict=False)]
    assert pauses
    assert all(most / 2 <= pause <= most + 0.001 for pause in pauses)


@in_virtual_time
async def test_a_cause_is_told_once_until_another_one_comes_or_a_connection_lasted():
    causes = ["nobody answers", "nobody answers", "another site", "another site", None, "another site"]
    calls = iter(causes)

    async def call():
        cause = next(calls, "another site")
        if cause is None:
            return ScriptedConnection()
        raise (Unauthorised if cause == "another site" else ConnectionLost)(cause)

    async def serve(connection):
        await asyncio.sleep(11)

    with capture_logs() as logs:
        await running_for(60, call, serve)
    assert [log["reason"] for log in logs] == ["nobody answers", "another site", "another site"]
    assert {log["peer"] for log in logs} == {B}


@pytest.mark.parametrize(("seconds", "told"), [(39, []), (60, ["it is not there now"])])
@in_virtual_time
async def test_what_may_pass_by_itself_is_told_once_it_has_not(seconds, told):
    """Each time anew: a connection that stood for a while, and is lost, may come back at once as well."""
    loop = asyncio.get_running_loop()

    async def call():
        if loop.time() < 4 or loop.time() > 30:
            raise ConnectionLost("it is not there now")
        return ScriptedConnection()

    async def serve(connection):
        await asyncio.sleep(30.1 - loop.time())

    with capture_logs() as logs:
        await running_for(seconds, call, serve, told_after_s=10)
    assert [log["reason"] for log in logs] == told


@pytest.mark.parametrize("error", [ConnectionLost("cut"), RemoteProtocolError("nonsense"), None])
@in_virtual_time
async def test_every_connection_is_closed_whatever_ends_it(error):
    made = []

    async def call():
        made.append(ScriptedConnection())
        return made[-1]

    async def serve(connection):
        if error is not None:
            raise error

    await running_for(20, call, serve)
    assert len(made) > 5
    assert all(connection.closed for connection in made)


@in_virtual_time
async def test_a_connection_under_service_is_closed_when_its_keeper_is_cancelled():
    connection = ScriptedConnection()

    async def call():
        return connection

    async def serve(connection):
        await asyncio.sleep(1000)

    await running_for(10, call, serve)
    assert connection.closed


@in_virtual_time
async def test_a_defect_ends_it():
    connection = ScriptedConnection()

    async def call():
        return connection

    async def serve(connection):
        raise ValueError("unforeseen")

    with pytest.raises(ValueError, match="unforeseen"):
        await keep_connected(B, call, serve)
    assert connection.closed


# --- whose site answers ---------------------------------------------------------------------------------------------


def answered_by(monkeypatch, connection):
    asked = []

    async def connect(url, context, *, subprotocols, max_frame):
        asked.append((url, subprotocols, max_frame))
        return connection

    monkeypatch.setattr(connecting, "connect", connect)
    return asked


@in_virtual_time
async def test_the_site_that_was_meant_is_taken(monkeypatch):
    connection = ScriptedConnection("B")
    asked = answered_by(monkeypatch, connection)
    assert await call_peer(B, "wss://b/x", None, "v1", 99) is connection
    assert asked == [("wss://b/x", ("v1",), 99)]
    assert not connection.closed


@pytest.mark.parametrize("name", ["C", "b", "not a site's name", ""])
@in_virtual_time
async def test_another_site_is_refused_and_its_connection_closed(monkeypatch, name):
    connection = ScriptedConnection(name)
    answered_by(monkeypatch, connection)
    with pytest.raises(Unauthorised):
        await call_peer(B, "wss://b/x", None, "v1", 99)
    await settled()
    assert connection.closed
    assert connection.sent == []


@in_virtual_time
async def test_whom_the_address_led_to_is_told(monkeypatch):
    answered_by(monkeypatch, ScriptedConnection("C"))
    with pytest.raises(Unauthorised, match="wss://b/x is site C, not site B: correct that address"):
        await call_peer(B, "wss://b/x", None, "v1", 99)
