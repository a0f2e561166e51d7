"""A site's relay moves bytes as its core says, whatever happens while it reads: nothing leaves late, all is let go."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from qss.core.relay import events as ev
from qss.core.reservation.relay_events import DrawFailure
from qss.model.errors import DeviceError, StoreUnavailable
from qss.model.identifiers import QksId, TransferId
from qss.model.key_material import KeyMaterial
from qss.model.ranges import Range
from qss.model.relay_policy import Hop, RelayPolicy
from qss.runtime.relay.counts import MAX_SITES, RelayCounts
from qss.runtime.relay.ends import Portion
from qss.runtime.relay.passed_over import tell_passed_over
from qss.runtime.relay.relaying import TAKE_S, TransferFailed
from qss.transport.telling import Telling
from qss.wire import relay as wire
from qss.wire.relay_status import ELSEWHERE
from support.relay_row import LENGTH, A, B, C, D, Row, begin, ends, material, name_of
from support.virtual_time import in_virtual_time, settled

ONLY = Portion(0, 0, 1)
AT_D = ends(D, A)


async def failure(carrying: asyncio.Task[None]) -> tuple[str, str]:
    """Return where a transfer failed, and why."""
    with pytest.raises(TransferFailed) as error:
        await carrying
    return error.value.site, error.value.reason


async def until_reading(row: Row, site: str) -> None:
    while not row.pads[site].reading:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("hop", list(Hop))
@in_virtual_time
async def test_content_is_carried_to_the_end_and_nothing_stays_on_the_way(hop) -> None:
    policy = RelayPolicy(hop=hop)
    async with Row() as row:
        message = begin(A, B, C, D, of=ends(policy=policy))
        for connection in row.connections.values():
            connection.recording = True
        await row.relays[A].carry(message, material())
        for site in (A, B, C):
            relay = row.relays[site]
            assert not any((relay._kept, relay._contents, relay._held, relay._drawn))
        assert await row.relays[D].take(ends(D, A, policy), name_of(message), ONLY) == material()
        frames = b"".join(frame for connection in row.connections.values() for frame in connection.sent)
        assert material().reveal()[:16] not in frames
        await row.at_rest()
        assert [row.used(*link) for link in ((A, B), (B, A), (B, C), (C, B), (C, D), (D, C))] == [[True]] * 6


@in_virtual_time
async def test_many_at_once_arrive_as_they_were_sent() -> None:
    async with Row() as row:
        messages = [begin(A, B, C, D, number=number, block=number) for number in range(100)]
        await asyncio.gather(*(row.relays[A].carry(each, material(n)) for n, each in enumerate(messages)))
        for number, message in enumerate(messages):
            assert await row.relays[D].take(AT_D, name_of(message), Portion(number, 0, 1)) == material(number)
        await row.at_rest()


# --- what happens while something is read -------------------------------------------------------------------------


@pytest.mark.parametrize("site", [A, B, C, D])
@in_virtual_time
async def test_nothing_leaves_that_was_forgotten_while_it_was_read(site) -> None:
    """The source waits no longer while a site reads: what that has read by then goes nowhere."""
    async with Row() as row:
        row.pads[site].readable.clear()
        message = begin(A, B, C, D)
        carrying = row.carry(message, material())
        await until_reading(row, site)
        carrying.cancel()
        await asyncio.wait([carrying])
        await settled()
        for connection in row.connections.values():
            connection.recording = True
        row.pads[site].readable.set()
        await settled()
        sent = [wire.decode(frame) for connection in row.connections.values() for frame in connection.sent]
        assert not [each for frame in sent for each in frame if isinstance(each, wire.Carry | wire.Arrived)]
        await row.at_rest()
        used = {A: row.used(A, B), B: row.used(B, C), C: row.used(C, D), D: row.used(D, C)}
        assert used[site] == [True]  # for all that anybody knows, it was


@pytest.mark.parametrize(("site", "cut"), [(B, (A, B)), (B, (B, C)), (C, (C, D)), (D, (C, D)), (A, (A, B))])
@in_virtual_time
async def test_a_connection_that_is_lost_while_a_site_reads_voids_the_transfer(site, cut) -> None:
    async with Row() as row:
        row.pads[site].readable.clear()
        carrying = row.carry(begin(A, B, C, D), material())
        await until_reading(row, site)
        row.connections[cut].cut()
        await settled()
        await row.connect(*cut)
        row.pads[site].readable.set()
        assert (await failure(carrying))[1] == "unreachable"
        await row.at_rest()
        again = begin(A, B, C, D, number=1)
        await row.relays[A].carry(again, material(1))
        assert await row.relays[D].take(AT_D, name_of(again), ONLY) == material(1)
        await row.at_rest()


@pytest.mark.parametrize("site", [A, B, D])
@in_virtual_time
async def test_a_site_that_stops_ends_what_it_is_about_to_use(site) -> None:
    async with Row() as row:
        row.pads[site].readable.clear()
        carrying = row.carry(begin(A, B, C, D), material())
        await until_reading(row, site)
        stopping = asyncio.create_task(row.relays[site].stop())
        await settled()
        row.pads[site].readable.set()
        await stopping
        assert (await failure(carrying))[1] in ("stopped", "unreachable")
        for link in row.links.values():
            assert not link.ends[site].open if site in link.ends else True
        await row.relays[site].stop()  # a second time is no error
        await row.at_rest()


@in_virtual_time
async def test_a_site_that_has_stopped_carries_nothing() -> None:
    async with Row() as row:
        await row.relays[A].stop()
        assert await failure(row.carry(begin(A, B, C, D), material())) == (A, "stopped")
        await row.at_rest()


@pytest.mark.parametrize("site", [A, B, D])
@in_virtual_time
async def test_a_store_that_cannot_be_read_voids_the_transfer_and_is_told_of_once(site) -> None:
    async with Row() as row:
        row.pads[site].error = StoreUnavailable("the disk fails")
        with capture_logs() as logs:
            for number in range(3):
                assert await failure(row.carry(begin(A, B, C, D, number=number), material())) == (site, "stopped")
        told = [entry for entry in logs if entry["log_level"] == "error"]
        assert [entry["reason"] for entry in told] == ["the disk fails"]
        row.pads[site].error = None
        await row.relays[A].carry(begin(A, B, C, D, number=9), material())
        await row.at_rest()


def flipped(frame: bytes) -> bytes:
    """Return a frame with one bit of what is carried changed, if it carries anything."""
    return frame[:-40] + bytes([frame[-40] ^ 1]) + frame[-39:] if len(frame) > LENGTH else frame


# --- what does not open -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", [B, D])
@in_virtual_time
async def test_what_does_not_open_is_void(site) -> None:
    async with Row() as row:
        if site == B:  # the last bytes are what the tag rests on
            row.pads[site].altered = lambda key: KeyMaterial(key.reveal()[:-1] + bytes([key.reveal()[-1] ^ 1]))
        else:
            row.connections[C, D].altered = flipped
        assert await failure(row.carry(begin(A, B, C, D), material())) == (site, "tampered")
        await row.at_rest()


@pytest.mark.parametrize("length", [LENGTH, LENGTH + 33, 1])
@in_virtual_time
async def test_a_range_of_another_length_than_what_is_carried_accuses_this_site_of_nothing(length) -> None:
    """Who draws says how long the range is: the owner of the link, who may say something else to the relay."""
    async with Row() as row:
        drawn = row.relays[B].drawn
        row.relays[B].drawn = lambda peer, name, stream, part, *, own: drawn(
            peer, name, stream, part if own else Range(part.start, part.start + length), own=own
        )
        with capture_logs() as logs:
            assert await failure(row.carry(begin(A, B, C, D), material())) == (B, "tampered")
        assert not [entry for entry in logs if entry["log_level"] == "error"]
        await row.at_rest()


# --- key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("link", "at"), [((A, B), A), ((B, C), B), ((C, D), C)])
@in_virtual_time
async def test_key_that_is_refused_at_once_fails_where_it_was_refused(link, at) -> None:
    async with Row() as row:
        row.links[link].refuses = DrawFailure.SHORTAGE
        assert await failure(row.carry(begin(A, B, C, D), material())) == (at, "shortage")
        await row.at_rest()


@pytest.mark.parametrize("site", [A, B])
@in_virtual_time
async def test_a_draw_that_fails_after_it_was_ready_is_ended_once(site) -> None:
    """The other end of the link has refused the range."""
    async with Row() as row:
        row.pads[site].readable.clear()
        message = begin(A, B, C, D)
        carrying = row.carry(message, material())
        await until_reading(row, site)
        peer = B if site == A else C
        row.relays[site].undrawn(peer, name_of(message), DrawFailure.REFUSED, own=True)
        row.pads[site].readable.set()
        assert await failure(carrying) == (site, "refused")
        await row.at_rest()
        assert row.used(site, peer) == [True]


@pytest.mark.parametrize("own", [True, False])
@in_virtual_time
async def test_what_a_link_has_under_a_name_after_it_started_over_is_not_what_the_relay_has(own) -> None:
    """The relay is still reading when its link has started over, and the neighbour draws under the same name again."""
    async with Row() as row:
        row.pads[B].readable.clear()
        message, peer = begin(A, B, C, D), C if own else A
        carrying = row.carry(message, material())
        await until_reading(row, B)
        end, name = row.end(B, peer), name_of(message)
        end.start_over()
        row.relays[B].undrawn(peer, name, DrawFailure.STOPPED, own=own)
        link = end.link
        link.ready(B, peer, name, Range(link.head, link.head + LENGTH + 32), own)
        assert end.ended == [(name, False)]  # the new one: nothing was done with it
        end.open[name] = own  # and one that is about to be had is not ended with the first
        row.pads[B].readable.set()
        assert await failure(carrying) == (B, "stopped")
        assert end.open.pop(name) is own
        await row.at_rest()


# --- what is taken ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taker", "portion"),
    [
        (ends(D, A), Portion(1, 0, 1)),
        (ends(D, A), Portion(0, 1, 2)),
        (ends(D, A), Portion(0, 0, 2)),
        (ends(D, B), ONLY),
        (ends(D, A, RelayPolicy(max_hops=3)), ONLY),
    ],
    ids=["block", "share", "shares", "source", "policy"],
)
@in_virtual_time
async def test_content_is_given_for_what_its_source_has_sent_it_for_and_for_nothing_else(taker, portion) -> None:
    """A repeater knows names and contents of others' transfers, and may be the source of a stream of its own."""
    async with Row() as row:
        message = begin(A, B, C, D)
        await row.relays[A].carry(message, material())
        with pytest.raises(DeviceError, match="is not of the block that the other end says"):
            await row.relays[D].take(taker, name_of(message), portion)
        passed: list[int] = []
        assert await row.relays[D].take(AT_D, name_of(message), ONLY, passed.append) == material()
        assert passed == [2]
        await row.at_rest()


@in_virtual_time
async def test_whoever_waits_for_a_strangers_transfer_does_not_get_it() -> None:
    async with Row() as row:
        message = begin(A, B, C, D)
        waiting = asyncio.create_task(row.relays[D].take(ends(D, B), name_of(message), ONLY))
        await settled()
        await row.relays[A].carry(message, material())
        assert await row.relays[D].take(AT_D, name_of(message), ONLY) == material()
        with pytest.raises(DeviceError):
            await waiting
        await row.at_rest()


@in_virtual_time
async def test_content_of_the_sites_own_transfers_is_not_to_be_taken() -> None:
    """A repeater on its path says that it ends here: the bytes would be key of two streams."""
    async with Row() as row:
        row.pads[B].readable.clear()
        message = begin(B, C, D, of=ends(B, D))
        carrying = row.carry(message, material())
        taking = asyncio.create_task(row.relays[B].take(ends(B, A), name_of(message), ONLY))
        await settled()
        assert not taking.done()
        row.pads[B].readable.set()
        await carrying
        with pytest.raises(DeviceError, match="has not come"):
            await taking
        await row.at_rest()


@in_virtual_time
async def test_content_is_given_once() -> None:
    async with Row() as row:
        message = begin(A, B, C, D)
        await row.relays[A].carry(message, material())
        await row.relays[D].take(AT_D, name_of(message), ONLY)
        with pytest.raises(DeviceError):
            await row.relays[D].take(AT_D, name_of(message), ONLY)
        await row.at_rest()


@in_virtual_time
async def test_whoever_takes_waits_a_while() -> None:
    async with Row() as row:
        message = begin(A, B, C, D)
        taking = asyncio.create_task(row.relays[D].take(AT_D, name_of(message), ONLY))
        await asyncio.sleep(TAKE_S - 1)
        await row.relays[A].carry(message, material())
        assert await taking == material()
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeviceError, match="has not come"):
            await row.relays[D].take(AT_D, TransferId(b"never sent......"), ONLY)
        assert asyncio.get_running_loop().time() - began == pytest.approx(TAKE_S)
        await row.at_rest()


@in_virtual_time
async def test_content_that_is_forgotten_in_the_moment_it_came_is_not_there() -> None:
    async with Row() as row:
        message = begin(A, B, C, D)
        taking = asyncio.create_task(row.relays[D].take(AT_D, name_of(message), ONLY))
        relay = row.relays[D]
        perform = relay._perform

        def leave_as_it_comes(effect: ev.Effect) -> None:
            perform(effect)
            if isinstance(effect, ev.Came):
                relay._handle(ev.Leave())

        relay._perform = leave_as_it_comes
        await row.relays[A].carry(message, material())
        with pytest.raises(DeviceError):
            await taking
        await row.at_rest()


# --- what is counted ----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_own_transfers_are_counted_by_what_became_of_them_and_others_where_they_went_on() -> None:
    async with Row() as row:
        await row.relays[A].carry(begin(A, B, C, D), material())
        row.links[C, D].refuses = DrawFailure.SHORTAGE
        assert await failure(row.carry(begin(A, B, C, D, number=1), material())) == (C, "shortage")
        row.links[C, D].refuses = None
        row.pads[B].readable.clear()
        leaving = row.carry(begin(A, B, C, D, number=2), material())
        await until_reading(row, B)
        leaving.cancel()
        await asyncio.wait([leaving])
        row.pads[B].readable.set()
        of_a, of_b = row.relays[A].counts, row.relays[B].counts
        assert +of_a.transfers[D] == {"arrived": 1, "shortage": 1, "given-up": 1}
        assert of_a.failures == {(C, wire.Reason.SHORTAGE): 1}
        assert +of_a.passed_on == {}
        assert +of_b.passed_on == {C: 2}  # the second, too: it failed beyond
        assert (of_b.transfers, of_b.failures) == ({}, {})
        await row.at_rest()


def test_sites_at_which_transfers_fail_take_bounded_room() -> None:
    counts = RelayCounts([B])
    for number in range(3 * MAX_SITES):
        counts.failed(D, QksId(f"S{number}"), wire.Reason.LATE)
    counts.failed(D, QksId("S0"), wire.Reason.LATE)
    assert len(counts.failures) == MAX_SITES + 1
    assert counts.failures["S0", wire.Reason.LATE] == 2
    assert counts.failures[ELSEWHERE, wire.Reason.LATE] == 2 * MAX_SITES
    assert counts.transfers[D]["late"] == 3 * MAX_SITES + 1


@in_virtual_time
async def test_the_connection_with_a_neighbours_relay_is_told_for_itself() -> None:
    async with Row() as row:
        assert row.relays[A].security(B) is not None
        row.connections[A, B].cut()
        await settled()
        assert row.relays[A].security(B) is None


# --- what neighbours say ------------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_is_passed_over_is_counted_and_told_once() -> None:
    async with Row() as row:
        with capture_logs() as logs:
            for number in range(5):
                await row.connections[A, B].send(
                    wire.encode([wire.Carry(bytes(15) + bytes([number]), b"c" * LENGTH, b"t" * 16)])
                )
            await settled()
        assert +row.relays[B].counts.dropped == {(A, ev.DropReason.UNKNOWN): 5}
        (told,) = [entry for entry in logs if entry["event"].startswith("something of a neighbour's relay")]
        assert (told["log_level"], told["peer"], told["reason"]) == ("info", A, "unknown")
        assert "failed or ended" in told["what"]
        assert row.relays[B]._carried is None
        await row.at_rest()


@pytest.mark.parametrize("reason", list(ev.DropReason))
def test_each_thing_that_is_passed_over_says_what_it_is_how_bad_and_what_to_do(reason: ev.DropReason) -> None:
    telling = Telling()
    with capture_logs() as logs:
        for peer in (A, B, A):
            tell_passed_over(telling, peer, reason)
    assert [entry["peer"] for entry in logs] == [A, B]
    is_odd = reason is ev.DropReason.REPEATED
    for entry in logs:
        assert entry["log_level"] == ("warning" if is_odd else "info")
        assert entry["what"]
        assert "if it goes on" in entry["remedy"]


@pytest.mark.parametrize(
    "frame",
    [b"", b"\x90", b"no frame", wire.encode([wire.Arrived(bytes(16))]) + b"\0"],
    ids=["empty", "none", "text", "more"],
)
@in_virtual_time
async def test_whoever_does_not_speak_relay_is_cut_off(frame) -> None:
    async with Row() as row:
        carrying = row.carry(begin(A, B, C, D), material())
        await row.connections[A, B].send(frame)
        await failure(carrying)
        await row.connect(A, B)
        await row.relays[A].carry(begin(A, B, C, D, number=1), material())
        await row.at_rest()


@in_virtual_time
async def test_a_second_carry_of_one_transfer_ends_the_connection_and_the_transfer() -> None:
    async with Row() as row:
        row.pads[B].readable.clear()
        connection = row.connections[A, B]
        connection.recording = True
        carrying = row.carry(begin(A, B, C, D), material())
        await until_reading(row, B)
        (carry,) = [each for frame in connection.sent for each in wire.decode(frame) if isinstance(each, wire.Carry)]
        await connection.send(wire.encode([carry]))
        assert (await failure(carrying))[1] == "unreachable"
        row.pads[B].readable.set()
        await row.at_rest()


@in_virtual_time
async def test_what_neighbours_repeat_on_a_new_connection_is_of_no_use() -> None:
    """All that was said of a transfer, once more: the range is used up, and its name says nothing any more."""
    async with Row() as row:
        connection = row.connections[A, B]
        connection.recording = True
        message = begin(A, B, C, D)
        await row.relays[A].carry(message, material())
        said = connection.sent
        await row.relays[D].take(AT_D, name_of(message), ONLY)
        connection.cut()
        await settled()
        await row.connect(A, B)
        for frame in said:
            await row.connections[A, B].send(frame)
        await asyncio.sleep(10)
        with pytest.raises(DeviceError):
            await row.relays[D].take(AT_D, name_of(message), ONLY)
        assert row.used(B, C)[0] is True
        assert row.used(A, B) == row.used(B, A) == [True]  # nothing was drawn of this link, and Carry met no key
        await row.at_rest()


@in_virtual_time
async def test_what_is_sent_back_to_its_sender_is_passed_over() -> None:
    async with Row() as row:
        for link in ((A, B), (B, C)):
            row.connections[link].recording = True
        message = begin(A, B, C, D)
        await row.relays[A].carry(message, material())
        for there, back in (((A, B), (B, A)), ((B, C), (C, B))):
            for frame in row.connections[there].sent:
                await row.connections[back].send(frame)
        await settled()
        assert await row.relays[D].take(AT_D, name_of(message), ONLY) == material()
        await row.at_rest()
