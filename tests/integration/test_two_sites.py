"""Two sites on real stores and a real connection: keys agree, and survive cuts and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
import structlog

from qss.core.keyserver.quotas import Quota, QuotaPlan
from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.phases import LinkPhase
from qss.model.errors import (
    BadRequest,
    FenceLost,
    LimitReached,
    PeerUnavailable,
    QssError,
    Shortage,
    StoreDamaged,
    StoreUnavailable,
    Tampered,
    Unauthorised,
    Unavailable,
)
from qss.model.identifiers import RESERVATION_ENTROPY_BYTES, QksId, ReservationId
from qss.model.keys import Key, KeyRequest
from qss.model.network import Edge, Graph
from qss.model.records import BurnReason, Scope
from qss.ports.store import Contents
from support.pki import Pki
from support.two_sites import ALICE, BOB, CAROL, HOMES, A, B, TwoSites


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("two-sites") / "pki")


def shown(keys: tuple[Key, ...]) -> dict[str, bytes]:
    return {str(key.key_id): key.material.reveal() for key in keys}


async def test_a_master_at_either_end_and_its_slave_get_the_same_keys(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        at_a = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=3, size=128))
        at_b = await sites.b.key_server.get_key(BOB, ALICE, KeyRequest(number=2))
        fetched_b = await sites.b.take(BOB, ALICE, tuple(k.key_id for k in at_a))
        fetched_a = await sites.a.take(ALICE, BOB, tuple(k.key_id for k in at_b))
        assert shown(at_a) == shown(fetched_b)
        assert shown(at_b) == shown(fetched_a)
        assert [len(k.material) for k in (*at_a, *at_b)] == [16, 16, 16, 32, 32]
        with pytest.raises(BadRequest):
            await sites.b.take(BOB, ALICE, (at_a[0].key_id,))


async def test_multicast_serves_each_slave_once_and_nobody_else(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        (key,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(additional_slaves=(CAROL,)))
        for slave in (BOB, CAROL):
            assert await sites.b.take(slave, ALICE, (key.key_id,)) == (key,)
        (private,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        with pytest.raises(Unauthorised):
            await sites.b.take(CAROL, ALICE, (private.key_id,))


async def test_keys_that_wait_can_be_fetched_while_nobody_knows_where_their_master_is_at_home(
    tmp_path, pki, monkeypatch
) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        first, second = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=2))
        monkeypatch.delitem(HOMES, ALICE)
        assert await sites.b.take(BOB, ALICE, (first.key_id,)) == (first,)
        with pytest.raises(BadRequest, match="not found"):
            await sites.b.take(BOB, CAROL, (second.key_id,))  # of this master they are not
        with pytest.raises(Unauthorised):
            await sites.b.take(CAROL, ALICE, (second.key_id,))
        new = ReservationId.from_entropy(os.urandom(RESERVATION_ENTROPY_BYTES))
        with pytest.raises(PeerUnavailable, match="does not know where sae:alice is at home"):
            await sites.a.link.asks.reserve(new, 1, 32, ALICE, (BOB,))
        await asyncio.sleep(1.1)  # for so long it is not asked again
        monkeypatch.setitem(HOMES, ALICE, sites.a.here)
        await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())


async def test_many_masters_at_both_ends_at_once_get_keys_of_their_own(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(1500)
        asks = [sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=3)) for _ in range(200)]
        asks += [sites.b.key_server.get_key(BOB, ALICE, KeyRequest(number=3)) for _ in range(200)]
        answers = await asyncio.gather(*asks)
        for keys in answers[:200]:
            assert await sites.b.take(BOB, ALICE, tuple(k.key_id for k in keys)) == keys
        for keys in answers[200:]:
            assert await sites.a.take(ALICE, BOB, tuple(k.key_id for k in keys)) == keys
        assert len({key.material.reveal() for keys in answers for key in keys}) == 1200
        assert all(r.tally.burned_total == 0 for s in (sites.a, sites.b) for r in s.link.core.streams)


async def test_a_shortage_consumes_nothing(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki, chunks=4) as sites:
        await sites.until_keys(128)
        for server, master, slave in ((sites.a.key_server, ALICE, BOB), (sites.b.key_server, BOB, ALICE)):
            before = server.get_status(master, slave).stored_key_count
            with pytest.raises(Shortage):
                await server.get_key(master, slave, KeyRequest(number=128, size=8192))
            assert server.get_status(master, slave).stored_key_count == before


async def test_a_cut_link_refuses_at_once_and_recovers(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        kept = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=2))
        await sites.disconnect()
        with pytest.raises(PeerUnavailable):
            await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        # Reserved keys are fetched all the same: the site has them.
        assert await sites.b.take(BOB, ALICE, (kept[0].key_id,)) == kept[:1]
        sites.connect()
        await sites.until_keys(20)
        assert await sites.b.take(BOB, ALICE, (kept[1].key_id,)) == kept[1:]
        await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())


async def test_a_restart_of_either_site_keeps_reserved_keys(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        first = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=2))
        await sites.b.stop()
        await sites.b.start()
        await sites.until_keys(20)
        assert await sites.b.take(BOB, ALICE, (first[0].key_id,)) == first[:1]
        await sites.a.stop()
        await sites.a.start()
        await sites.until_keys(20)
        second = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=2))
        ids = (first[1].key_id, *(key.key_id for key in second))
        assert await sites.b.take(BOB, ALICE, ids) == (first[1], *second)


async def test_whoever_waits_when_the_site_stops_gets_an_answer(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(200)
        asks = [asyncio.create_task(sites.a.key_server.get_key(ALICE, BOB, KeyRequest())) for _ in range(20)]
        await asyncio.sleep(0)
        await sites.a.stop()
        for answer in await asyncio.gather(*asks, return_exceptions=True):
            assert isinstance(answer, tuple | QssError)
        await sites.a.start()


async def test_a_full_disk_refuses_and_the_site_goes_on_by_itself_when_there_is_room(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        kept = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        for site, server, master, slave in (
            (sites.a, sites.a.key_server, ALICE, BOB),
            (sites.a, sites.b.key_server, BOB, ALICE),
        ):
            site.store.full = True
            with pytest.raises(Unavailable):
                await server.get_key(master, slave, KeyRequest())
            with pytest.raises(Unavailable):
                await server.get_key(master, slave, KeyRequest())
            site.store.full = False
            await sites.until_keys(1)
            keys = await server.get_key(master, slave, KeyRequest())
            other = sites.b if server is sites.a.key_server else sites.a
            assert await other.take(slave, master, (keys[0].key_id,)) == keys
        sites.b.store.full = True
        with pytest.raises(StoreUnavailable):
            await sites.b.take(BOB, ALICE, (kept[0].key_id,))
        sites.b.store.full = False
        await sites.until_keys(1)
        assert await sites.b.take(BOB, ALICE, (kept[0].key_id,)) == kept


@pytest.mark.parametrize("anchored", [True, False])
async def test_a_restored_back_up_is_noticed_and_its_key_burned_at_both_ends(tmp_path, pki, anchored) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        old = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=2))
        await sites.b.stop()
        shutil.copy(sites.b.path, tmp_path / "back-up")
        await sites.b.start()
        await sites.until_keys(20)
        await sites.b.take(BOB, ALICE, (old[0].key_id,))
        await sites.b.stop()
        shutil.copy(tmp_path / "back-up", sites.b.path)
        if not anchored:
            (tmp_path / "B.anchor").unlink()
        await sites.b.start()
        await sites.until_keys(20)
        for key in old:  # one has been delivered, the other might have been
            with pytest.raises(BadRequest):
                await sites.b.take(BOB, ALICE, (key.key_id,))
        fresh = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        assert await sites.b.take(BOB, ALICE, (fresh[0].key_id,)) == fresh


async def test_used_bytes_are_erased_from_the_store(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        (key,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        row = next(row for row in sites.b.link.core.reservations if row.id == key.key_id.reservation)
        held = await sites.b.store.read_key(row.stream, row.key_range(0))
        assert held == key.material
        await sites.b.take(BOB, ALICE, (key.key_id,))
        async with asyncio.timeout(5):
            for site in (sites.a, sites.b):
                while True:
                    try:
                        await site.store.read_key(row.stream, row.key_range(0))
                    except Tampered:
                        break
                    await asyncio.sleep(0.05)


async def test_a_newer_connection_takes_the_place_of_the_older_one(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        assert sites.accepted[-1].is_open
        newer = await sites.call()
        serving = asyncio.create_task(sites.a.link.serve(newer))
        async with asyncio.timeout(5):
            while sites.accepted[0].is_open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await sites.until_keys(1)
        (key,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        assert await sites.b.take(BOB, ALICE, (key.key_id,)) == (key,)
        await newer.close()
        await asyncio.wait([serving])


async def test_of_several_connections_that_wait_the_newest_is_served(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        await sites.disconnect()  # who dials by itself would be the newest at some time
        newer = [await sites.call() for _ in range(6)]
        serving = [asyncio.create_task(sites.a.link.serve(connection)) for connection in newer]
        async with asyncio.timeout(5):
            await asyncio.wait(serving[:-1])
        assert not serving[-1].done()
        await sites.until_keys(1)
        await newer[-1].close()
        await asyncio.wait(serving)


async def test_a_restore_on_a_failing_disk_is_not_forgotten_and_nothing_is_served_meanwhile(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        (kept,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        await sites.b.stop()
        for file in (sites.b.path, tmp_path / "B.anchor"):
            shutil.copy(file, f"{file}.back-up")
        await sites.b.start()
        await sites.until_keys(20)
        assert await sites.b.take(BOB, ALICE, (kept.key_id,)) == (kept,)
        await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        await sites.disconnect()
        await sites.b.stop()
        for file in (sites.b.path, tmp_path / "B.anchor"):
            shutil.copy(f"{file}.back-up", file)
        await sites.b.start()
        sites.b.store.full = True
        sites.connect()
        with pytest.raises(Unavailable):  # not compared yet, then held
            await sites.b.take(BOB, ALICE, (kept.key_id,))
        async with asyncio.timeout(5):
            while sites.b.link.core.phase is not LinkPhase.FAILED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable, match="restored from a back-up"):
            await sites.b.take(BOB, ALICE, (kept.key_id,))
        sites.b.store.full = False
        await sites.until_keys(20)
        with pytest.raises(BadRequest):
            await sites.b.take(BOB, ALICE, (kept.key_id,))
        for site in (sites.a, sites.b):
            link = site.link.core
            assert sum((record.tally for record in link.streams), link.peer.past).burned[BurnReason.RESTORED]


async def test_a_site_that_is_asked_to_stop_on_a_failing_disk_stops(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        sites.a.store.full = True
        with pytest.raises(StoreUnavailable):
            await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await sites.a.stop()
        await sites.a.start()


async def test_a_neighbour_without_proof_burns_its_own_link_alone(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        before = sites.b.site._commit_number
        await sites.disconnect()
        peer = sites.a.link.core._state.peer
        sites.a.link.core._state.peer = replace(peer, incarnation=1, commit_seen=2**63 - 1)  # what A says it has seen
        sites.connect()
        await sites.until_keys(20)  # fresh key
        assert sites.b.site._commit_number < before + 1000
        for site in (sites.a, sites.b):
            link = site.link.core
            assert sum((record.tally for record in link.streams), link.peer.past).burned[BurnReason.RESTORED]
        (key,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        assert await sites.b.take(BOB, ALICE, (key.key_id,)) == (key,)


async def test_two_restored_ends_without_anchors_use_nothing_twice(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(100)
        ends = (sites.a, sites.b)
        for site in ends:
            await site.stop()
            shutil.copy(site.path, tmp_path / f"{site.here}.back-up")
        for site in ends:
            await site.start()
        await sites.until_keys(1)
        used = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=1))
        for site in ends:
            await site.stop()
            shutil.copy(tmp_path / f"{site.here}.back-up", site.path)
            (tmp_path / f"{site.here}.anchor").unlink()
        for site in ends:
            await site.start()
        await sites.until_keys(100)
        fresh = await sites.a.key_server.get_key(ALICE, CAROL, KeyRequest(number=100))
        assert not {key.material.reveal() for key in used} & {key.material.reveal() for key in fresh}


async def test_a_defect_in_a_links_core_fails_the_site(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(1)

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        sites.a.link.core.handle = broken
        async with asyncio.timeout(5):
            with pytest.raises(ZeroDivisionError):
                await sites.a.site.failed
        del sites.a.link.core.handle


async def test_after_a_defect_nothing_more_reaches_the_store_or_anybody(tmp_path, pki, monkeypatch) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        (key,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        await asyncio.sleep(0.5)  # the confirmation is durable

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        before = (await sites.b.store.contents()).reservations
        monkeypatch.setattr(StreamLedger, "deliver_reserved", broken)
        with pytest.raises(ZeroDivisionError):
            await sites.b.take(BOB, ALICE, (key.key_id,))
        monkeypatch.undo()
        assert sites.b.site.failed.done()
        for asking in (
            sites.b.take(BOB, ALICE, (key.key_id,)),
            sites.b.key_server.get_key(BOB, ALICE, KeyRequest()),
        ):
            with pytest.raises(PeerUnavailable):
                await asyncio.wait_for(asking, 5)
        await asyncio.sleep(0.5)
        assert (await sites.b.store.contents()).reservations == before
        with pytest.raises(ZeroDivisionError):
            await sites.b.site.failed


async def test_a_connection_that_comes_while_the_link_starts_over_does_not_hang_it(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        contents = sites.b.store.contents

        async def slowly() -> Contents:
            read = await contents()
            await asyncio.sleep(1.0)
            return read

        sites.b.store.contents = slowly
        sites.b.store.full = True
        with pytest.raises(Unavailable):
            await sites.b.key_server.get_key(BOB, ALICE, KeyRequest())
        sites.b.store.full = False
        await asyncio.sleep(2.0)
        sites.b.store.contents = contents
        await sites.until_keys(20)


async def test_a_store_that_another_process_took_fails_the_site(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(1)
        connection = apsw.Connection(str(sites.a.path))
        connection.set_busy_timeout(5000)
        connection.execute("UPDATE meta SET incarnation = incarnation + (1 << 41)")
        connection.close()
        with pytest.raises(Unavailable):
            await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        async with asyncio.timeout(5):
            with pytest.raises(FenceLost):
                await sites.a.site.failed


@pytest.mark.parametrize("damage", ["UPDATE blocks SET sealed = zeroblob(length(sealed))", "DELETE FROM blocks"])
async def test_key_that_was_altered_on_disk_is_burned_and_the_link_works_on(tmp_path, pki, damage) -> None:
    async with TwoSites(tmp_path, pki, chunks=400) as sites:
        await sites.until_keys(20)
        change(sites.a.path, f"{damage} WHERE start = 0")
        with pytest.raises(StoreUnavailable, match="is damaged, and was burned; nothing was delivered; ask for other"):
            await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        (key,) = await first_success(lambda: sites.a.key_server.get_key(ALICE, BOB, KeyRequest()))
        assert await sites.b.take(BOB, ALICE, (key.key_id,)) == (key,)
        assert sum(record.tally.burned.get(BurnReason.UNREADABLE, 0) for record in sites.a.link.core.streams) > 0


async def first_success[T](ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until it is served."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Unavailable):
                return await ask()
            await asyncio.sleep(0.05)


async def test_a_damaged_file_ends_the_site(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())  # and is erased: then the log is moved and cut
        await until(lambda: not any(sites.a.path.with_name(sites.a.path.name + "-wal").read_bytes()))
        size = sites.a.path.stat().st_size
        with sites.a.path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(size - 4096))
        asking = asyncio.create_task(first_success(lambda: sites.a.key_server.get_key(ALICE, BOB, KeyRequest())))
        await asyncio.wait({asking, sites.a.site.failed}, return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        await asyncio.wait({asking})
        with pytest.raises(StoreDamaged, match="is damaged; restore the data folder from a back-up with"):
            sites.a.site.failed.result()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what nobody announces."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def change(path: Path, statement: str) -> None:
    """Somebody else writes into a store."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    connection.execute(statement)
    connection.close()


async def test_an_anchor_that_somebody_spoils_is_reported_once_and_the_site_goes_on(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        with structlog.testing.capture_logs() as logs:
            for content in ("no number", "still none"):
                (tmp_path / "A.anchor").write_text(content)
                await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
                sites.a.site._write_anchor()
        told = [entry for entry in logs if entry["event"] == "the anchor cannot be written"]
        assert len(told) == 1
        assert "remove it: all key gathered so far is then burned" in told[0]["reason"]
        (tmp_path / "A.anchor").unlink()
        sites.a.site._write_anchor()
        assert sites.a.anchor.read() == sites.a.site._commit_number


# --- names, recalls, quotas ---------------------------------------------------------------------------------------


async def test_repeats_under_a_name_get_the_same_container_across_a_restart(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        request = KeyRequest(3, 128, name="n")
        first, joined = await asyncio.gather(*(sites.a.key_server.get_key(ALICE, BOB, request) for _ in range(2)))
        ids = tuple(key.key_id for key in first)
        taken = await sites.b.take(BOB, ALICE, ids, "n")
        assert first == joined == taken
        await asyncio.sleep(0.5)  # that both ends hold it is durable
        for site in (sites.a, sites.b):
            await site.stop()
            await site.start()
        assert await sites.a.key_server.get_key(ALICE, BOB, request) == first
        assert await sites.b.take(BOB, ALICE, ids, "n") == first
        with pytest.raises(BadRequest, match="another request"):
            await sites.a.key_server.get_key(ALICE, BOB, replace(request, number=2))
        with pytest.raises(BadRequest, match="not found"):
            await sites.b.take(BOB, ALICE, ids)


async def test_a_repeat_gets_the_same_also_where_another_way_would_be_taken_now(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        request = KeyRequest(2, 128, extension_optional=(("qss_disjoint_paths", 2),), name="n")
        first = await sites.a.key_server.get_key(ALICE, BOB, request)
        edge = Edge(1, 0)
        c = QksId("C")
        sites.a.graph = Graph({A: {B: edge, c: edge}, B: {A: edge, c: edge}, c: {A: edge, B: edge}}, frozenset({c}))
        assert await sites.a.key_server.get_key(ALICE, BOB, request) == first
        with pytest.raises(Unavailable, match="nothing is relayed to B"):
            await sites.a.key_server.get_key(ALICE, BOB, replace(request, name=None))
        assert await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())


async def test_recalled_keys_are_had_by_nobody(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        (key,) = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest())
        with structlog.testing.capture_logs() as logs:
            assert await sites.a.link.asks.recall(Scope((key.key_id,))) == 0
            await until(lambda: any(entry["event"].startswith("the neighbour recalled") for entry in logs))
        with pytest.raises(BadRequest, match="not found"):
            await sites.b.take(BOB, ALICE, (key.key_id,))


async def test_a_quota_refuses_and_what_comes_to_nothing_takes_none(tmp_path, pki) -> None:
    async with TwoSites(tmp_path, pki) as sites:
        await sites.until_keys(20)
        server = sites.a.key_server
        server._quotas.plan = QuotaPlan(sae=Quota(bps=0.001, keys=100), burst_s=512_000.0)
        await server.get_key(ALICE, BOB, KeyRequest(1, 256, name="n"))
        await server.get_key(ALICE, BOB, KeyRequest(1, 256, name="n"))  # a repeat takes nothing
        await sites.disconnect()
        with pytest.raises(PeerUnavailable):
            await server.get_key(ALICE, BOB, KeyRequest(1, 256))
        sites.connect()
        await sites.until_keys(20)
        await server.get_key(ALICE, BOB, KeyRequest(1, 256))
        with pytest.raises(LimitReached, match=r"may take 0\.001 bit/s; nothing was consumed"):
            await server.get_key(ALICE, BOB, KeyRequest(1, 256))
        server._quotas.plan = QuotaPlan(pair=Quota(keys=2))
        with pytest.raises(LimitReached, match="has 2, and asks for 1"):
            await server.get_key(ALICE, BOB, KeyRequest(1, 256))
