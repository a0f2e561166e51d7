"""The clients against the door, over TLS."""

from __future__ import annotations

import asyncio
import threading

import pytest

from qss.client import KeyServerRefused, KeyServerUnreachable, SyncClient
from qss.model.errors import BadRequest
from qss.model.identifiers import KeyId, ReservationId, SaeId
from qss.model.keys import KeyLimits
from support.northbound import ALICE, BOB, CAROL, MALLORY, FakeKeyService, northbound
from support.pki import Pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("northbound") / "pki")


async def test_keys_reach_master_and_slaves_alike(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door:
        async with door.client(ALICE) as alice, door.client(BOB) as bob, door.client(CAROL) as carol:
            keys = await alice.get_keys(BOB, number=3, size=1024, additional_slaves=[CAROL])
            assert [8 * len(key.material) for key in keys] == [1024] * 3
            ids = [key.key_id for key in keys]
            assert await bob.get_keys_with_ids(ALICE, ids) == keys
            assert await carol.get_keys_with_ids(ALICE, reversed(ids)) == keys[::-1]
            with pytest.raises(KeyServerRefused) as again:
                await bob.get_keys_with_ids(ALICE, ids[:1])
        assert (again.value.status, again.value.message) == (400, "one or more keys specified are not found on KME")
        assert door.counted() == {("enc_keys", "200"): 1, ("dec_keys", "200"): 2, ("dec_keys", "400"): 1}


async def test_the_request_arrives_as_it_was_asked(pki) -> None:
    service = FakeKeyService()
    async with northbound(pki, service) as door, door.client(ALICE) as alice:
        await alice.get_keys(
            BOB,
            extension_mandatory=[("abc_route", "direct")],
            extension_optional=[("abc_max_age", 30000), ("abc_list", [1, None])],
        )
    request = service.asked[0][3]
    assert (request.number, request.size, request.additional_slaves) == (1, None, ())
    assert request.extension_mandatory == (("abc_route", "direct"),)
    assert request.extension_optional == (("abc_max_age", 30000), ("abc_list", [1, None]))


async def test_status(pki) -> None:
    limits = KeyLimits(key_size=352, max_sae_id_count=3)
    async with northbound(pki, FakeKeyService(stock=7, limits=limits)) as door, door.client(ALICE) as alice:
        status = await alice.status(BOB)
    assert (status.master, status.slave, status.stored_key_count, status.limits) == (ALICE, BOB, 7, limits)


@pytest.mark.parametrize("name", ["sae:with/slash", "urn:x?y=z", "sae:100%25", "sae:a+b", "..", ".", "a#b", "(x)"])
async def test_any_sae_id_arrives_as_it_is(pki, name) -> None:
    service = FakeKeyService()
    async with northbound(pki, service) as door, door.client(ALICE) as alice:
        await alice.status(name)
        await alice.get_keys(name)
    assert [call[2] for call in service.asked] == [name, name]


async def test_refusals_come_as_typed_errors(pki) -> None:
    service = FakeKeyService(stock=1)
    async with northbound(pki, service) as door, door.client(ALICE) as alice, door.client(MALLORY) as mallory:
        with pytest.raises(KeyServerRefused) as shortage:
            await alice.get_keys(BOB, number=2)
        with pytest.raises(KeyServerRefused) as stranger:
            await mallory.get_keys(BOB)
        with pytest.raises(KeyServerRefused, match="size shall be a multiple of 8"):
            await alice.get_keys(BOB, size=12)
        with pytest.raises(KeyServerRefused) as unknown:
            await alice.get_keys_with_ids(BOB, [ReservationId.from_entropy(bytes(16)).key_id(0)])
    assert (shortage.value.status, stranger.value.status, unknown.value.status) == (503, 401, 400)
    assert "1 keys are at hand" in shortage.value.message


async def test_a_question_that_cannot_be_asked_is_not_sent(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, door.client(ALICE) as alice:
        for asking in (
            alice.status(" "),
            alice.get_keys("b ob"),
            alice.get_keys(BOB, additional_slaves=[""]),
            alice.get_keys_with_ids(BOB, []),
            alice.get_keys_with_ids(BOB, [KeyId(bytes(16))] * 2),
        ):
            with pytest.raises(BadRequest):
                await asking
        assert door.counted() == {}


async def test_one_connection_serves_many_requests(pki) -> None:
    async with northbound(pki, FakeKeyService()) as door, door.client(ALICE) as alice:
        await asyncio.gather(*(alice.get_keys(BOB) for _ in range(20)))
        for _ in range(3):
            await alice.get_keys(BOB)
        assert door.counted() == {("enc_keys", "200"): 23}


async def test_ipv6(pki) -> None:
    async with northbound(pki, FakeKeyService(), host="::1") as door, door.client(ALICE) as alice:
        assert door.url.startswith("https://[::1]:")
        assert len(await alice.get_keys(BOB)) == 1


async def test_the_synchronous_client_works_beside_a_running_loop_and_from_threads(pki) -> None:
    def ask(client: SyncClient, got: list[int]) -> None:
        got.append(len(client.get_keys(BOB, number=2)))

    async with northbound(pki, FakeKeyService()) as door:
        with door.sync_client(ALICE) as alice, door.sync_client(BOB) as bob:
            keys = await asyncio.to_thread(alice.get_keys, BOB, 2)
            assert await asyncio.to_thread(bob.get_keys_with_ids, ALICE, [key.key_id for key in keys]) == keys
            assert (await asyncio.to_thread(alice.status, BOB)).slave == SaeId(BOB)
            with pytest.raises(KeyServerRefused):
                await asyncio.to_thread(alice.get_keys, BOB, 1, 12)
            got: list[int] = []
            threads = [threading.Thread(target=ask, args=(alice, got)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert got == [2] * 4
            await asyncio.to_thread(alice.close)
            await asyncio.to_thread(bob.close)
        with pytest.raises(KeyServerUnreachable, match="closed"):
            alice.status(BOB)
