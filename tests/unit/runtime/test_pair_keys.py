"""Key for a stream of two SAEs: what it is, is looked up at this end, and what is not for them is not fetched."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.keyserver.stream_supply import MAX_RESERVED_BYTES
from qss.model.errors import DeviceError, QssError, Shortage, Unauthorised
from qss.model.identifiers import QksId, ReservationId, SaeId, StreamId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyIdsRequest, KeyLimits, KeyRequest
from qss.model.records import ReservationRecord, Side, StreamRecord
from qss.model.relay_policy import Hop, RelayPolicy
from qss.runtime.key_streams.pair_keys import PairKeys, Reserved

C = QksId("C")
ALICE, CAROL, EVE = map(SaeId, ("sae:alice", "sae:carol", "sae:eve"))
PLAN = StreamPlan(ALICE, CAROL, C, may_ask=True, may_be_asked=True)
NAME = ReservationId.from_entropy(b"r" * 16)
STREAM = StreamRecord(StreamId(b"s" * 16), C, 1024, policy="{}", repeaters=2)
ROW = ReservationRecord(NAME, STREAM.stream, C, Side.SLAVE, 0, 2, 512, CAROL, (ALICE,), 1e9, fetched=(0,))


def key(position: int) -> Key:
    return Key(NAME.key_id(position), KeyMaterial(bytes([position]) * 512))


@dataclass
class FakeKeyServer:
    asked: list[tuple[SaeId, SaeId, KeyRequest]] = field(default_factory=list)
    fetched: list[tuple[SaeId, SaeId, KeyIdsRequest]] = field(default_factory=list)
    fails: QssError | None = None

    async def get_key(self, caller: SaeId, slave: SaeId, request: KeyRequest) -> tuple[Key, ...]:
        self.asked.append((caller, slave, request))
        if self.fails is not None:
            raise self.fails
        return tuple(map(key, range(request.number)))

    async def get_key_with_ids(self, caller: SaeId, master: SaeId, request: KeyIdsRequest) -> tuple[Key, ...]:
        self.fetched.append((caller, master, request))
        return tuple(map(key, range(len(request.key_ids))))


@dataclass
class FakeLink:
    """A link, and its core."""

    row: ReservationRecord | None
    stream: StreamRecord = STREAM

    @property
    def core(self) -> FakeLink:
        return self

    def rows_of(self, reservation: ReservationId) -> tuple[ReservationRecord, StreamRecord] | None:
        return (self.row, self.stream) if self.row is not None and reservation == NAME else None


def keys_of(link: FakeLink, server: FakeKeyServer | None = None) -> tuple[PairKeys, FakeKeyServer]:
    server = server or FakeKeyServer()
    return PairKeys(PLAN, server, {C: link}, KeyLimits()), server  # type: ignore[arg-type, dict-item]


async def test_what_is_reserved_demands_one_time_pads_and_says_what_it_has_passed() -> None:
    keys, server = keys_of(FakeLink(replace(ROW, side=Side.MASTER)))
    reserved = await keys.reserve(1100)
    assert reserved == Reserved(NAME, 2, KeyMaterial(bytes([0]) * 512 + bytes([1]) * 512), repeaters=2)
    demand = (("qss_hop", "one-time-pad"),)
    assert server.asked == [(ALICE, CAROL, KeyRequest(2, 8 * 550, extension_mandatory=demand))]


@pytest.mark.parametrize("error", [Shortage("there is none"), Unauthorised("no rule")])
async def test_refusals_of_the_key_server_are_passed_on(error: QssError) -> None:
    keys, _ = keys_of(FakeLink(None), FakeKeyServer(fails=error))
    with pytest.raises(type(error)):
        await keys.reserve(1024)


async def test_what_was_reserved_and_is_gone_is_not_used() -> None:
    keys, _ = keys_of(FakeLink(None))
    with pytest.raises(DeviceError, match="recalled"):
        await keys.reserve(1024)


@pytest.mark.parametrize("policy", ["", "{}", RelayPolicy(disjoint_paths=2).text])
async def test_what_the_other_one_reserved_is_fetched_whole(policy: str) -> None:
    keys, server = keys_of(FakeLink(ROW, replace(STREAM, policy=policy)))
    fetched = await keys.fetch(NAME, 2)
    assert fetched == Reserved(NAME, 2, KeyMaterial(bytes([0]) * 512 + bytes([1]) * 512), repeaters=2)
    assert server.fetched == [(ALICE, CAROL, KeyIdsRequest((NAME.key_id(0), NAME.key_id(1))))]


@pytest.mark.parametrize(
    ("row", "stream", "count"),
    [
        (None, STREAM, 2),
        (replace(ROW, side=Side.MASTER), STREAM, 2),
        (replace(ROW, master=EVE), STREAM, 2),
        (replace(ROW, slaves=(EVE,)), STREAM, 2),
        (replace(ROW, slaves=(ALICE, EVE)), STREAM, 2),
        (ROW, STREAM, 1),
        (ROW, STREAM, 3),
        (replace(ROW, count=1, key_bytes=MAX_RESERVED_BYTES + 1), STREAM, 1),
        (ROW, replace(STREAM, policy=RelayPolicy(hop=Hop.AES_256_GCM).text), 2),
    ],
)
async def test_what_is_not_for_this_stream_is_not_fetched(
    row: ReservationRecord | None, stream: StreamRecord, count: int
) -> None:
    keys, server = keys_of(FakeLink(row, stream))
    with pytest.raises(DeviceError):
        await keys.fetch(NAME, count)
    assert server.fetched == []


async def test_what_nobody_knows_is_not_fetched() -> None:
    keys, server = keys_of(FakeLink(ROW))
    with pytest.raises(DeviceError, match="is not here"):
        await keys.fetch(ReservationId.from_entropy(b"x" * 16), 2)
    nowhere = PairKeys(PLAN, server, {}, KeyLimits())  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="is not here"):
        await nowhere.fetch(NAME, 2)
    assert server.fetched == []
