"""Key streams of applications from real nodes in a row, A, B and C: by our client, and by one that was written from the
standard alone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qss.client.etsi004 import Chunk, Etsi004Client
from qss.model.addresses import Address
from qss.model.certificates import site_of
from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.pki.contexts import application_context
from qss.wire.etsi004.messages import QoS
from qss.wire.etsi004.status import Status
from support.network import ALICE, BELLA, BOB, CAROL, RunningNetwork, running_network

A, B, C = map(QksId, "ABC")
QOS = QoS(key_chunk_size=256, timeout=10_000, metadata_mimetype="application/json")
CLIENT = Path(__file__).parent / "clients" / "etsi004_client.py"


def edit(_: QksId, toml: str) -> str:
    return f'{toml}\n[key_streams]\nlisten = "127.0.0.1:0"\n\n[quotas]\npair_bps = 100_000\nburst_s = 5\n'


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    with running_network(tmp_path_factory.mktemp("row"), edit=edit) as running:
        running.until_keys((ALICE, BOB), (BOB, CAROL))
        running.until(lambda: running.curl(ALICE, f"/api/v1/keys/{CAROL}/status").status == 200, "the way to C")
        running.until(lambda: running.curl(CAROL, f"/api/v1/keys/{ALICE}/status").status == 200, "the way to A")
        yield running


def where(network: RunningNetwork, site: QksId) -> Address:
    serving = [event for event in network.events(site) if event["event"] == "serving"]
    return Address.parse(serving[-1]["key_streams"])


class App(Etsi004Client):
    """An application that calls a site, its home if nothing else is said."""

    def __init__(self, network: RunningNetwork, sae: SaeId, site: QksId | None = None) -> None:
        home, pair = site or network.network.homes[sae], network.network.pki.sae(sae)

        def verify(certificate: Any) -> None:
            if site_of(certificate) != home:
                raise Unauthorised("this is another site")

        context = application_context(pair.certificate, pair.key, network.network.pki.authority.certificate)
        super().__init__(where(network, home), context, verify)

    async def chunk(self, stream: StreamId, index: int, room: int = 64) -> Chunk:
        return await self.get_key(stream, index, room, timeout_ms=QOS.timeout)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(bounded())


async def met(one: App, other: App, names: tuple[SaeId, SaeId], qos: QoS = QOS) -> StreamId:
    opened = await one.open_connect(*names, qos, None)
    assert opened.status is Status.PEER_NOT_CONNECTED
    assert opened.stream is not None
    assert (await other.open_connect(*names, qos, opened.stream)).status is Status.SUCCESS
    return opened.stream


def noted(network: RunningNetwork, stream: StreamId, chunk: Chunk) -> tuple[int, bytes]:
    """Remember a chunk's key, which must not be in any log; return its index, and it."""
    assert chunk.status is Status.SUCCESS
    assert chunk.key is not None
    network.note({f"{stream} {chunk.index}": chunk.key.reveal()})
    return chunk.index, chunk.key.reveal()


@pytest.mark.parametrize(("parties", "hops"), [((ALICE, CAROL), 1), ((CAROL, ALICE), 1), ((ALICE, BOB), 0)])
def test_the_same_bytes_under_the_same_index_at_both_ends(
    row: RunningNetwork, parties: tuple[SaeId, SaeId], hops: int
) -> None:
    async def exchange() -> None:
        async with App(row, parties[0]) as one, App(row, parties[1]) as other:
            stream = await met(one, other, parties)
            for index in range(8):
                chunks = [await app.chunk(stream, index) for app in (one, other)]
                assert noted(row, stream, chunks[0]) == noted(row, stream, chunks[1])
                assert [json.loads(chunk.metadata)["hops"] for chunk in chunks] == [hops, hops]
                again = await one.chunk(stream, index)
                assert again.key == chunks[0].key
            assert (await one.chunk(stream, 2)).status is Status.INSUFFICIENT_KEY  # it is past
            for app in (one, other):
                assert await app.close_stream(stream) is Status.SUCCESS
                assert await app.close_stream(stream) is Status.NO_QKD_CONNECTION
            assert (await one.open_connect(*parties, QOS, stream)).status is Status.KSID_IN_USE

    run(exchange)


@pytest.mark.parametrize("form", ["forge", "qubip"])
@pytest.mark.parametrize("named", [False, True])
def test_a_client_that_was_written_from_the_standard_alone(row: RunningNetwork, form: str, named: bool) -> None:
    pki, ksid = row.network.pki, "6f9619ff-8b86-4011-b42d-00c04fc964ff" if form == "forge" else f"{1 << 100:032x}"
    carol, alice = pki.sae(CAROL), pki.sae(ALICE)
    command = [
        *(sys.executable, "-I", str(CLIENT), str(where(row, A)), str(where(row, C)), "--form", form, "--hops", "1"),
        *("--authority", pki.authority.certificate, "--certificate", alice.certificate, "--key", alice.key),
        *("--at-b", carol.certificate, carol.key, "--names", ALICE, CAROL),
        *(("--ksid", ksid) if named else ()),
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    digests = re.findall(rb"5120 bytes sha256 ([0-9a-f]{64})$", done.stdout, re.MULTILINE)
    assert len(digests) == 2
    assert digests[0] == digests[1]


def key_stream(network: RunningNetwork, own: SaeId, other: SaeId, *options: str) -> subprocess.Popen[str]:
    pki, pair = network.network.pki, network.network.pki.sae(own)
    environment = {
        "QSS_URL": f"https://{where(network, network.network.homes[own])}",
        "QSS_CERT": str(pair.certificate),
        "QSS_KEY": str(pair.key),
        "QSS_CA": str(pki.authority.certificate),
    }
    command = [sys.executable, "-m", "qss", "key", "stream", own, other, *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=os.environ | environment, stdout=pipe, stderr=pipe, text=True)


def test_the_command_line_gets_the_same_chunks_at_both_ends(row: RunningNetwork) -> None:
    with key_stream(row, ALICE, CAROL, "--number", "20", "--size", "100") as one:
        assert one.stderr is not None
        name = one.stderr.readline().removeprefix("key stream ").strip()
        with key_stream(row, CAROL, ALICE, "--number", "20", "--stream", name, "--json") as other:
            theirs, complaint = other.communicate(timeout=60)
        mine, _ = one.communicate(timeout=60)
    assert (one.returncode, other.returncode, complaint) == (0, 0, f"key stream {name}\n")
    told = [json.loads(line) for line in theirs.splitlines()]
    assert mine.splitlines() == [f"{each['index']} {each['key']}" for each in told]
    assert [each["index"] for each in told] == list(range(20))
    assert {each["hops"] for each in told} == {1}
    assert {len(base64.b64decode(each["key"])) for each in told} == {100}
    row.note({f"{name} {each['index']}": base64.b64decode(each["key"]) for each in told})


@pytest.mark.parametrize(
    ("own", "other", "options", "why"),
    [
        (ALICE, BELLA, ("--wait", "0"), "sae:bella has not opened the stream; nothing was consumed"),
        (ALICE, SaeId("sae:nobody"), (), "its log says why"),
        (ALICE, CAROL, ("--size", "8"), "ask for 32 to 65,536 bytes"),
        (ALICE, CAROL, ("--url", "nowhere"), "is no address of a key server"),
    ],
)
def test_the_command_line_says_what_it_is_refused(
    row: RunningNetwork, own: SaeId, other: SaeId, options: tuple[str, ...], why: str
) -> None:
    with key_stream(row, own, other, *options) as asked:
        out, complaint = asked.communicate(timeout=60)
    assert (asked.returncode, out) == (1, "")
    assert why in complaint


def test_who_is_not_named_gets_nothing(row: RunningNetwork) -> None:
    async def intrude() -> None:
        async with App(row, ALICE) as alice, App(row, CAROL) as carol, App(row, BELLA) as bella:
            stream = await met(alice, carol, (ALICE, CAROL))
            async with App(row, BELLA, site=A) as stranger:
                assert (await stranger.chunk(stream, 0)).status is Status.NO_QKD_CONNECTION
                assert await stranger.close_stream(stream) is Status.NO_QKD_CONNECTION
                for names in ((ALICE, CAROL), (BELLA, CAROL)):
                    assert (await stranger.open_connect(*names, QOS, stream)).status is Status.NO_QKD_CONNECTION
            assert (await bella.open_connect(ALICE, CAROL, QOS, stream)).status is Status.NO_QKD_CONNECTION
            chunks = [await app.chunk(stream, 0) for app in (alice, carol)]
            assert noted(row, stream, chunks[0]) == noted(row, stream, chunks[1])
            await alice.close_stream(stream)
            await carol.close_stream(stream)

    run(intrude)


def test_too_little_key_is_told_and_nothing_is_consumed(row: RunningNetwork) -> None:
    """What a pair may take is used up; later there is more of it."""

    async def drain() -> None:
        hasty = QoS(key_chunk_size=16_384, timeout=300)
        async with App(row, ALICE) as alice, App(row, BOB) as bob:
            stream, index = await met(alice, bob, (ALICE, BOB), hasty), 0
            while (chunk := await alice.get_key(stream, index)).status is Status.SUCCESS:
                assert (await bob.get_key(stream, index)).status is Status.SUCCESS
                index += 1
            assert (chunk.status, chunk.index, chunk.key) == (Status.INSUFFICIENT_KEY, index, None)
            assert index < 8
            while (chunk := await alice.get_key(stream, index)).status is Status.INSUFFICIENT_KEY:
                pass
            assert noted(row, stream, chunk) == noted(row, stream, await bob.get_key(stream, index))
            await alice.close_stream(stream)
            await bob.close_stream(stream)

    run(drain)


def test_status_and_metrics_tell_of_streams(row: RunningNetwork) -> None:
    async def look() -> None:
        async with App(row, ALICE) as alice:
            before = row.status(A)["key_streams"]["open"]
            opened = await alice.open_connect(ALICE, CAROL, QOS, None)
            assert row.status(A)["key_streams"]["open"] == before + 1
            assert opened.stream is not None
            await alice.close_stream(opened.stream)

    run(look)
    status, metrics = row.admin(A, "/metrics", row.network.pki.site(A))
    assert status == 200
    assert re.search(rb'^qss_key_stream_calls_total\{method="close",status="success"\} [1-9]', metrics, re.MULTILINE)
    assert re.search(rb'^qss_key_stream_bits_total\{outcome="delivered"\} [0-9]', metrics, re.MULTILINE)
    assert row.status(A)["key_streams"]["bits"]["read"] >= 0


@pytest.mark.parametrize("killed", [A, C])
def test_a_site_that_is_killed_ends_its_streams_and_gives_none_of_their_bytes_again(
    row: RunningNetwork, killed: QksId
) -> None:
    async def exchange() -> StreamId | None:
        """Get chunks of a new stream at both ends; return None if it cannot be opened yet."""
        async with App(row, ALICE) as alice, App(row, CAROL) as carol:
            opened = (await carol.open_connect(CAROL, ALICE, QOS, None)).stream
            if opened is None:
                return None
            if (await alice.open_connect(CAROL, ALICE, QOS, opened)).status is not Status.SUCCESS:
                await carol.close_stream(opened)
                await alice.close_stream(opened)
                return None
            for index in range(2):
                chunks = [await app.chunk(opened, index) for app in (alice, carol)]
                assert noted(row, opened, chunks[0]) == noted(row, opened, chunks[1])
                assert [json.loads(chunk.metadata)["hops"] for chunk in chunks] == [1, 1]
            return opened

    async def is_over(stream: StreamId) -> None:
        async with App(row, ALICE if killed == C else CAROL) as left:
            index = 2
            while (await left.chunk(stream, index)).status is Status.SUCCESS:
                index += 1
            assert (await left.chunk(stream, index)).status is Status.NO_QKD_CONNECTION

    stream = asyncio.run(exchange())
    assert stream is not None
    row.kill(killed)
    asyncio.run(is_over(stream))
    row.start(killed)
    row.until_ready(killed)
    row.until(lambda: asyncio.run(exchange()) is not None, "streams again")
    before = {key for name, key in row.keys.items() if name.startswith(str(stream))}
    assert len(before) == 2
    assert before.isdisjoint(key for name, key in row.keys.items() if not name.startswith(str(stream)))
