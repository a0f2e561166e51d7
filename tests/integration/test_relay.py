"""Whole sites that relay: what a repeater keeps, what one can do that lies, is silent or slow, what breaks on the way.

Real stores, real TLS connections, all in one process, so that a test can reach into a site.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from qss.core.relay import events as ev
from qss.core.reservation.relay_events import DrawFailure
from qss.model.errors import QssError, Shortage, Unavailable
from qss.model.identifiers import QksId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyRequest
from qss.transport.listening import Listener
from qss.wire import relay as wire
from support.network import traces_in
from support.relaying_sites import (
    ALICE,
    BOB,
    CAROL,
    RING,
    ROW,
    WINDOW_BYTES,
    A,
    B,
    C,
    D,
    RelayingSites,
    has_any,
    relaying_sites,
    unsealed,
    windows,
)


def hasty(wait_s: float) -> Callable[[QksId, str], str]:
    """Have requests wait so long for key that is relayed."""
    return lambda _, text: f"{text}\n[relay]\nwait_s = {wait_s}\n"


def by_b(wait_s: float) -> Callable[[QksId, str], str]:
    """Have the way by D be taken only if there is no other one."""

    def change(name: QksId, text: str) -> str:
        dear = text.replace("capacity_bits", "administrative_cost = 1000000\ncapacity_bits") if name == D else text
        return hasty(wait_s)(name, dear)

    return change


# --- what a repeater keeps ----------------------------------------------------------------------------------------


async def test_a_repeater_keeps_nothing_of_what_it_passes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as logs:
        async with relaying_sites(tmp_path, monkeypatch) as sites:
            await sites.until_keys()
            got = [
                key
                for parties in ((ALICE, CAROL), (CAROL, ALICE))
                for number in (1, 20)
                for key in await sites.keys(*parties, number=number)
            ]
            await sites.at_rest()
            stream = await sites.stored(A, C)
            assert stream == await sites.stored(C, A)
            assert len(stream) > 1000
            await sites.stop(B)
    secrets = windows([*(key.material.reveal() for key in got), stream, *sites.pads, *sites.contents])
    assert len(secrets) > 20_000
    kept = await unsealed(sites, B)
    assert len(kept) > 10_000
    assert not has_any(kept, secrets)
    assert not has_any(b"".join(sites.frames[B]), secrets)
    files = [path for path in (tmp_path / "B.data").rglob("*") if path.is_file()]
    assert not has_any(b"".join(path.read_bytes() for path in files), secrets)
    said = repr(logs).encode()
    assert not has_any(said, secrets)
    assert traces_in(said, [key.material.reveal() for key in got] + sites.pads + sites.contents) == []


async def test_both_ends_of_each_link_count_the_same_bits_as_relayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(tmp_path, monkeypatch) as sites:
        await sites.until_keys()
        await sites.keys(number=50)
        await sites.at_rest()
        for one, other in ROW:
            here, there = sites.tallies(one, other), sites.tallies(other, one)
            assert sum(here) == sum(there) > 50 * 256


async def test_a_site_has_links_to_relay_over_before_anybody_can_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour that calls at once has a transfer for it: to draw key with nobody would stop a link half way."""
    relaying: list[list[bool]] = []
    start = Listener.start

    async def noted(self: Listener) -> None:
        relaying.append([bool(relay.relaying._links) for relay in sites.relays.values()])
        await start(self)

    async with relaying_sites(tmp_path, monkeypatch) as sites:
        await sites.stop(A, B, C)
        sites.relays.clear()
        monkeypatch.setattr(Listener, "start", noted)
        await sites.start(A, B)
        assert relaying == [[True], [True, True]]


# --- a repeater that is not what it should be ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [A, C])
async def test_a_site_that_starts_again_is_no_trouble_that_its_far_one_warns_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: QksId
) -> None:
    """Each of the two hears of the other, and of the stream, in its own time."""
    async with relaying_sites(tmp_path, monkeypatch) as sites:
        await sites.until_keys()
        with capture_logs() as logs:
            await sites.stop(name)
            await sites.start(name)
            await sites.until_keys()
    warned = [log for log in logs if log["log_level"] == "warning"]
    assert [log for log in warned if log["event"] == "no connection" and "cannot connect" not in log["reason"]] == []
    assert [log for log in warned if "path" in log] == []


def flip(sites: RelayingSites, at: QksId) -> list[bytes]:
    """Have a repeater change a bit of what it opens; return what it makes of it."""
    relay, made = sites.relays[at].relaying, []
    opened = relay._opened

    async def flipped(effect: ev.Pass) -> KeyMaterial:
        content = (await opened(effect)).reveal()
        made.append(bytes([content[0] ^ 1]) + content[1:])
        return KeyMaterial(made[-1])

    relay._opened = flipped
    return made


def blamed(logs: list[dict[str, object]]) -> set[str]:
    """Whom the logs name to auditors."""
    return {str(entry["sites"]) for entry in logs if entry.get("audit") and "sites" in entry}


async def test_what_a_repeater_changed_is_burned_at_both_ends_and_another_way_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(tmp_path, monkeypatch, RING, by_b(15.0)) as sites:
        await sites.until_known()
        with capture_logs() as logs:
            changed = flip(sites, B)
            got = [key for _ in range(3) for key in await sites.keys(number=5)]
        assert changed
        assert blamed(logs) == {"B"}
        wrong = windows(changed)
        for material in (*(key.material.reveal() for key in got), await sites.stored(A, C), await sites.stored(C, A)):
            assert not has_any(material[1:], wrong)
        before = len(changed)
        await sites.keys(number=50)
        assert len(changed) == before  # it is passed by


async def test_without_another_way_nothing_that_was_changed_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(tmp_path, monkeypatch, ROW, hasty(3.0)) as sites:
        await sites.until_keys((ALICE, BOB), (BOB, CAROL))
        flip(sites, B)
        with capture_logs() as logs, pytest.raises(Unavailable) as refused:
            await sites.keys()
        assert "was changed on its way" in str(refused.value)
        assert "nothing was consumed" in str(refused.value)
        assert blamed(logs) == {"B"}
        for here, peer in ((A, C), (C, A)):
            assert await sites.stored(here, peer) == b""
            assert all(not record.tally.delivered for record in sites.sites[here].links[peer].core.streams)
        await sites.keys(ALICE, BOB)  # links work on
        await sites.keys(BOB, CAROL)


def swallow_carry(sites: RelayingSites, at: QksId) -> None:
    session = sites.relays[at].relaying._sessions[C]
    send = session.send
    session.send = lambda messages: send(tuple(each for each in messages if not isinstance(each, wire.Carry)))


def dawdle(sites: RelayingSites, at: QksId) -> None:
    relay = sites.relays[at].relaying
    opened = relay._opened

    async def slowly(effect: ev.Pass) -> KeyMaterial:
        content = await opened(effect)
        await asyncio.sleep(1.0)
        return content

    relay._opened = slowly


def claim_to_have_key(sites: RelayingSites, at: QksId) -> None:
    relay = sites.relays[at].relaying
    sites.sites[at].links[C].draw = lambda transfer, length, *, urgent: relay.undrawn(
        C, transfer, DrawFailure.SHORTAGE, own=True
    )


def accuse_another(sites: RelayingSites, at: QksId) -> None:
    """Answer each Begin by Failed, and name a site that has nothing to do with it."""
    relay = sites.relays[at].relaying
    received = relay._relay.handle

    def lying(event: ev.Event, now: float) -> ev.Effects:
        if isinstance(event, ev.Received) and isinstance(event.message, wire.Begin):
            return (ev.Send(event.peer, (wire.Failed(event.message.transfer, D, wire.Reason.TAMPERED),)),)
        return received(event, now)

    relay._relay.handle = lying


@pytest.mark.parametrize("misbehave", [swallow_carry, claim_to_have_key, accuse_another, dawdle])
async def test_keys_come_whatever_one_repeater_of_two_does(
    misbehave: Callable[[RelayingSites, QksId], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(tmp_path, monkeypatch, RING, by_b(15.0)) as sites:
        await sites.until_known()
        misbehave(sites, B)
        keys = [key.material.reveal() for _ in range(3) for key in await sites.keys(number=2)]
        assert len(set(keys)) == 6
        assert sites.relays[A].streams._suspects[C].sites(asyncio.get_running_loop().time()) == frozenset()
        if misbehave is accuse_another:
            passed_by = sites.relays[A].streams._suspects[C].links(asyncio.get_running_loop().time())
            assert not [link for link in passed_by if D in link]  # what it says of others is not believed


@pytest.mark.parametrize("misbehave", [swallow_carry, claim_to_have_key, accuse_another])
async def test_without_another_way_the_request_is_refused_and_nothing_is_delivered(
    misbehave: Callable[[RelayingSites, QksId], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(
        tmp_path, monkeypatch, ROW, hasty(2.0 if misbehave is not swallow_carry else 7.0)
    ) as sites:
        await sites.until_keys((ALICE, BOB), (BOB, CAROL))
        misbehave(sites, B)
        for parties in ((ALICE, CAROL), (CAROL, ALICE)):
            with pytest.raises(Unavailable, match="nothing was consumed"):
                await sites.keys(*parties)
        assert await sites.stored(A, C) == await sites.stored(C, A) == b""
        await sites.keys(ALICE, BOB)
        await sites.keys(BOB, CAROL)
        await sites.at_rest()


# --- what breaks on the way ---------------------------------------------------------------------------------------


async def ask_often(sites: RelayingSites, number: int = 60) -> list[asyncio.Task[tuple[Key, ...]]]:
    """Have applications at both ends ask for keys, a few at a time and one after the other, for some seconds."""
    asking = []
    for turn in range(number):
        master, slave = ((ALICE, CAROL), (CAROL, ALICE))[turn % 2]
        server = sites.key_servers[sites.network.homes[master]]
        asking.append(asyncio.create_task(server.get_key(master, slave, KeyRequest(number=1 + turn % 8))))
        await asyncio.sleep(0.02)
    return asking


async def all_agree(sites: RelayingSites, asking: list[asyncio.Task[tuple[Key, ...]]]) -> int:
    """Fail unless each was answered with keys that the other end has, or with an error; return how many had keys."""
    answers = await asyncio.gather(*asking, return_exceptions=True)
    materials = []
    for turn, answer in enumerate(answers):
        if isinstance(answer, BaseException):
            assert isinstance(answer, Unavailable), repr(answer)
            continue
        parties = ((ALICE, CAROL), (CAROL, ALICE))[turn % 2]
        assert len(answer) == 1 + turn % 8
        await sites.fetched(answer, *parties)
        materials += [key.material.reveal() for key in answer]
    assert len(windows(materials)) == sum(len(each) - WINDOW_BYTES + 1 for each in materials)  # no byte came twice
    return sum(not isinstance(answer, BaseException) for answer in answers)


async def links_work(sites: RelayingSites) -> None:
    await sites.until_keys((ALICE, BOB), (BOB, CAROL), (ALICE, CAROL), (CAROL, ALICE))
    await sites.at_rest()
    sites.must_balance()


@pytest.mark.parametrize("link", ROW, ids="-".join)
async def test_a_link_that_is_cut_in_the_middle_of_many_requests(
    link: tuple[QksId, QksId], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(tmp_path, monkeypatch, ROW, hasty(5.0)) as sites:
        await sites.until_keys()
        asking = asyncio.create_task(ask_often(sites))
        for _ in range(4):
            await asyncio.sleep(0.2)
            await sites.cut(*link)
        assert await all_agree(sites, await asking) > 0
        await links_work(sites)


async def test_a_destination_that_vanishes_half_way_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(tmp_path, monkeypatch, ROW, hasty(2.0)) as sites:
        await sites.until_keys()
        server = sites.key_servers[A]
        asking = [asyncio.create_task(server.get_key(ALICE, CAROL, KeyRequest(number=8))) for _ in range(40)]
        await asyncio.sleep(0.1)
        await sites.stop(C)
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(answer, tuple | Unavailable) for answer in answers)
        with pytest.raises(QssError, match=r"is not known here|cannot be reached"):
            await sites.keys()
        await sites.start(C)
        await links_work(sites)
        for answer in answers:  # what had been answered by then was durable at both ends
            if isinstance(answer, tuple):
                await sites.fetched(answer)


async def test_links_whose_key_runs_out_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(name: QksId, text: str) -> str:
        return hasty(2.0)(name, text.replace("rate_bps = 400000", "rate_bps = 20000"))

    async with relaying_sites(tmp_path, monkeypatch, ROW, slow) as sites:
        await sites.until_keys()
        server = sites.key_servers[A]
        asking = [asyncio.create_task(server.get_key(ALICE, CAROL, KeyRequest(number=64))) for _ in range(40)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        refused = [answer for answer in answers if not isinstance(answer, tuple)]
        assert all(isinstance(answer, Unavailable) for answer in refused), refused
        assert refused
        for answer in answers:
            if isinstance(answer, tuple):
                assert len(answer) == 64
                await sites.fetched(answer)
        await links_work(sites)
        for one, other in ROW:
            assert sum(sites.tallies(one, other)) == sum(sites.tallies(other, one))


# --- round a link that has too little -----------------------------------------------------------------------------


def kept(detours: bool) -> Callable[[QksId, str], str]:
    """Have the link of A and B leave almost all its key to requests of high priority."""

    def change(name: QksId, text: str) -> str:
        before, link, after = text.partition(f'peer = "{B if name == A else A}"')
        if name in (A, B):
            more = "high_priority_bits = 99_000_000\ncapacity_bits = 100_000_000"
            after = re.sub(r"capacity_bits = \d+", more, after, count=1)
        return f"{before}{link}{after}\n[relay]\ndetours = {str(detours).lower()}\nwait_s = 5\n"

    return change


async def test_key_with_a_neighbour_comes_round_a_link_that_has_too_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(tmp_path, monkeypatch, RING, kept(detours=True)) as sites:
        await sites.until_keys((ALICE, BOB), (BOB, ALICE))
        await sites.until_known()
        await sites.keys(ALICE, BOB, number=5)
        await sites.at_rest()
        for one, other in ((A, D), (C, D), (B, C)):
            assert sum(sites.tallies(one, other)) > 5 * 256
        with pytest.raises(Shortage):
            await sites.keys(ALICE, BOB, direct_only=True)


async def test_nobody_else_sees_key_with_a_neighbour_unless_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying_sites(tmp_path, monkeypatch, RING, kept(detours=False)) as sites:
        await sites.until_keys((BOB, CAROL))
        await sites.until_known()
        with pytest.raises(Shortage):
            await sites.keys(ALICE, BOB)
