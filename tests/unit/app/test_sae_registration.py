"""Registering and removing SAEs: what is refused, what is burned, and what a failure or a crash leaves to be burned."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

import pytest
import structlog

from qss.app import sae_registration
from qss.app.rules import Rules
from qss.app.sae_register import SAES, SaeRegister
from qss.app.sae_registration import SaeRegistration
from qss.app.site_tables import SiteConfiguration
from qss.model.errors import BadRequest, StoreUnavailable, Unavailable
from qss.model.identifiers import QksId, SaeId
from qss.model.records import Scope
from qss.wire.saes import SaeView
from support.fixed_routes import FixedRoutes
from support.homes import END, by_site, stated
from support.one_site import Place, made_place

A, B, C = QksId("A"), QksId("B"), QksId("C")
ALICE, ANNA, ARNO, AXEL, CAROL = (SaeId(f"sae:{name}") for name in ("alice", "anna", "arno", "axel", "carol"))
CONFIGURED = ("[[saes]]", f'[[saes]]\nid = "{ALICE}"\nsite = "A"\n[[saes]]')
BITS = {B: 256, C: 0}


class Links:
    """What burns keys."""

    def __init__(self) -> None:
        self.burned: list[SaeId | None] = []
        self.asked: list[QksId] = []
        self.failing: set[QksId] = set()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.under_way = asyncio.Event()

    @property
    def fail(self) -> bool:
        return bool(self.failing)

    @fail.setter
    def fail(self, fails: bool) -> None:
        self.failing = {B} if fails else set()

    async def recall(self, scope: Scope, peer: QksId) -> Mapping[QksId, int]:
        assert scope.key_ids == ()
        self.asked.append(peer)
        self.under_way.set()
        await self.go_on.wait()
        if peer in self.failing:
            raise StoreUnavailable("the store refuses to write")
        if peer == B:
            self.burned.append(scope.sae)
        return {peer: BITS[peer]}


class Site:
    """The SAEs of site A, which can be started anew."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.configuration = place.configuration(CONFIGURED)
        self.links = Links()
        self.start()

    def start(self) -> None:
        self.register = SaeRegister(self.place.folder / "A.data" / SAES)
        self.rules = Rules(self.configuration, self.register, FixedRoutes(arno="B"))
        self.published: list[Mapping[SaeId, bytes | None]] = []
        self.registration = SaeRegistration(
            A,
            self.rules,
            self.register,
            lambda: [B, C],
            self.links.recall,
            lambda: self.published.append(dict(self.rules.saes_at_home())),
        )

    @property
    def on_disk(self) -> tuple[set[SaeId], set[SaeId]]:
        found = SaeRegister(self.place.folder / "A.data" / SAES)
        return set(found), set(found.leaving)

    async def reload(self, configuration: SiteConfiguration) -> None:
        """Take another configuration over, as the node does."""
        self.configuration = configuration
        self.rules.take_over(configuration, Path("A.toml"))
        await self.registration.follow_configuration()

    @contextlib.asynccontextmanager
    async def burning(self, monkeypatch: pytest.MonkeyPatch):
        """Have `keep_burning` run, and look again at once."""
        monkeypatch.setattr(sae_registration, "RETRY_S", 0.01)
        task = asyncio.create_task(self.registration.keep_burning())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    return Site(await made_place(tmp_path))


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.contextmanager
def refusing_disk() -> Iterator[None]:
    with patch("qss.app.sae_register.replace_file", side_effect=OSError(28, "No space left on device")):
        yield


async def assert_refused(work: Awaitable[object], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        await work


# --- adding ---------------------------------------------------------------------------------------------------------


async def test_an_sae_is_at_home_for_good_once_it_was_added(site) -> None:
    statement = stated(site.place.pki, ANNA)
    await site.registration.add(ANNA, statement)
    await site.registration.add(AXEL, None)
    assert site.published[-1] == {ALICE: None, ANNA: statement, AXEL: None}
    assert site.registration.saes() == (
        SaeView(id=ALICE, configured=True, stated_until=None),
        SaeView(id=ANNA, configured=False, stated_until=END),
        SaeView(id=AXEL, configured=False, stated_until=None),
    )
    before = site.registration.saes()
    site.start()
    assert site.registration.saes() == before
    assert site.links.burned == []


async def test_what_other_sites_would_not_take_is_refused(site) -> None:
    pki = site.place.pki
    for statement, says in (
        (stated(pki, CAROL), "cannot be shown to other sites: the statement is that sae:carol is at home at A, not"),
        (stated(pki, ANNA, B), "cannot be shown to other sites: the statement is that sae:anna is at home at B, not"),
        (by_site(pki.site("A"), A), "cannot be shown to other sites: the network's authority has not signed this"),
        (stated(pki, ANNA, expires=1_700_000_000), "has expired: have the authority make a new one"),
        (b"no statement", "this is no statement of an SAE's home: give what `qss pki home` made"),
    ):
        await assert_refused(site.registration.add(ANNA, statement), says)
    assert site.published == []
    assert ANNA not in site.rules.saes_at_home()
    assert site.on_disk == (set(), set())


@pytest.mark.parametrize("sae", [ALICE, CAROL])
async def test_what_is_configured_here_or_elsewhere_is_changed_there(site, sae) -> None:
    await assert_refused(site.registration.add(sae, None), "is in the configuration of this site: change it there")
    await assert_refused(site.registration.remove(sae), "is in the configuration of this site: take it out there")
    assert site.on_disk == (set(), set())
    assert site.links.burned == []


async def test_a_disk_that_refuses_changes_nothing(site) -> None:
    await site.registration.add(ANNA, None)
    before, told = site.registration.saes(), len(site.published)
    with refusing_disk():
        for work in (site.registration.add(AXEL, None), site.registration.remove(ANNA)):
            with pytest.raises(Unavailable, match=r"No space left on device\): the site goes on as before"):
                await work
    assert site.registration.saes() == before
    assert len(site.published) == told
    assert site.links.burned == []


# --- removing -------------------------------------------------------------------------------------------------------


async def test_a_removal_burns_and_says_how_much(site) -> None:
    await site.registration.add(ANNA, None)
    with structlog.testing.capture_logs() as logs:
        assert await site.registration.remove(ANNA) == BITS
    assert site.links.burned == [ANNA]
    assert site.published[-1] == {ALICE: None}
    assert site.rules.home(ANNA) is None
    assert site.on_disk == (set(), set())
    (line,) = logs
    assert (line["audit"], line["sae"], line["burned_bits"]) == (True, ANNA, BITS)


async def test_what_is_not_registered_is_not_removed(site) -> None:
    for sae in (ANNA, AXEL):  # the network knows Arno elsewhere
        await assert_refused(site.registration.remove(sae), "is not registered here: see `qss sae list`")
    assert site.links.burned == []


async def test_it_is_at_home_here_no_more_before_anything_is_burned(site) -> None:
    await site.registration.add(ANNA, None)
    site.links.go_on.clear()
    removing = asyncio.create_task(site.registration.remove(ANNA))
    await site.links.under_way.wait()
    assert site.on_disk == (set(), {ANNA})
    assert site.published[-1] == {ALICE: None}
    assert site.rules.home(ANNA) is None
    assert site.registration.saes()[1:] == (SaeView(id=ANNA, configured=False, stated_until=None, leaving=True),)
    site.links.go_on.set()
    assert await removing == BITS


async def test_what_cannot_be_burned_at_once_is_burned_later(site, monkeypatch) -> None:
    await site.registration.add(ANNA, None)
    site.links.fail = True
    for _ in range(2):  # asked for again, it is tried again
        with pytest.raises(
            Unavailable, match="sae:anna was removed; its keys are burned as soon as that is possible: the"
        ):
            await site.registration.remove(ANNA)
    assert site.on_disk == (set(), {ANNA})
    with structlog.testing.capture_logs() as logs:
        async with site.burning(monkeypatch):
            await until(lambda: len(logs) > 2)
            assert {line["event"] for line in logs} == {"keys of an SAE that was removed are burned later"}
            await assert_refused(site.registration.add(ANNA, None), "are still being burned, after its removal")
            site.links.fail = False
            await until(lambda: "audit" in logs[-1])
    assert site.links.burned == [ANNA]
    assert site.on_disk == (set(), set())
    assert (logs[-1]["audit"], logs[-1]["burned_bits"]) == (True, BITS)
    await site.registration.add(ANNA, None)
    assert ANNA in site.rules.saes_at_home()


async def test_a_removal_that_a_crash_interrupts_is_finished_at_the_next_start(site, monkeypatch) -> None:
    await site.registration.add(ANNA, None)
    site.links.go_on.clear()
    removing = asyncio.create_task(site.registration.remove(ANNA))
    await site.links.under_way.wait()
    removing.cancel()
    await asyncio.wait({removing})
    assert site.links.burned == []

    site.links = Links()
    site.start()
    assert site.rules.home(ANNA) is None
    async with site.burning(monkeypatch):
        await until(lambda: not site.register.leaving)
    assert site.links.burned == [ANNA]
    assert site.on_disk == (set(), set())


async def test_a_crash_after_the_burning_burns_once_more(site, monkeypatch) -> None:
    await site.registration.add(ANNA, None)
    with (
        patch.object(site.register, "end_removal", side_effect=Unavailable("the power went")),
        pytest.raises(Unavailable),
    ):
        await site.registration.remove(ANNA)
    site.start()
    async with site.burning(monkeypatch):
        await until(lambda: not site.register.leaving)
    assert site.links.burned == [ANNA, ANNA]


async def test_one_change_comes_after_the_other(site) -> None:
    await asyncio.gather(*(site.registration.add(SaeId(f"sae:a{number}"), None) for number in range(20)))
    assert len(site.on_disk[0]) == 20
    both = await asyncio.gather(
        site.registration.remove(SaeId("sae:a0")), site.registration.remove(SaeId("sae:a0")), return_exceptions=True
    )
    assert both[0] == BITS
    assert isinstance(both[1], BadRequest)
    assert site.links.burned == ["sae:a0"]


async def test_whoever_gives_a_change_up_leaves_it_whole_for_the_next_one(site) -> None:
    """A thread that writes cannot be stopped: a second one beside it would build on what is about to be replaced."""
    writing, go_on = threading.Event(), threading.Event()
    add = site.register.add

    def slowly(sae: SaeId, statement: bytes | None) -> None:
        if sae == ANNA:
            writing.set()
            assert go_on.wait(10)
        add(sae, statement)

    with patch.object(site.register, "add", slowly):
        first = asyncio.create_task(site.registration.add(ANNA, None))
        await asyncio.to_thread(writing.wait, 10)
        first.cancel()
        second = asyncio.create_task(site.registration.add(AXEL, None))
        await asyncio.sleep(0.05)
        assert not second.done()
        go_on.set()
        await second
    assert first.cancelled()
    assert site.on_disk == ({ANNA, AXEL}, set())


async def test_a_statement_is_not_taken_away_by_leaving_it_out(site) -> None:
    await site.registration.add(ANNA, stated(site.place.pki, ANNA))
    await assert_refused(site.registration.add(ANNA, None), "registered with a statement: give a new one")


async def test_one_that_the_network_tells_to_be_at_home_elsewhere_needs_a_statement(site) -> None:
    await assert_refused(site.registration.add(ARNO, None), "sae:arno is at home at site B, as the authority states")
    await site.registration.add(ARNO, stated(site.place.pki, ARNO))


# --- the configuration ----------------------------------------------------------------------------------------------


async def test_what_was_taken_out_of_the_configuration_is_burned(site) -> None:
    await site.registration.follow_configuration()
    await site.reload(site.place.configuration())
    assert site.links.burned == [ALICE]
    assert site.on_disk == (set(), set())
    await site.registration.follow_configuration()
    assert site.links.burned == [ALICE]


async def test_what_was_taken_out_while_the_site_did_not_run_is_burned_at_its_start(site) -> None:
    await site.registration.follow_configuration()
    site.configuration = site.place.configuration()
    site.start()
    await site.registration.follow_configuration()
    assert site.links.burned == [ALICE]


async def test_a_disk_that_refuses_the_note_of_that_does_not_save_the_keys(site, monkeypatch) -> None:
    await site.registration.follow_configuration()
    with refusing_disk():
        await site.reload(site.place.configuration())
    assert site.links.burned == []
    async with site.burning(monkeypatch):
        await until(lambda: site.links.burned == [ALICE])
    assert site.on_disk == (set(), set())


async def test_what_was_put_back_before_that_was_noted_is_not_burned(site) -> None:
    await site.registration.follow_configuration()
    with refusing_disk():
        await site.reload(site.place.configuration())
    await site.reload(site.place.configuration(CONFIGURED))
    assert site.links.burned == []
    assert site.on_disk == (set(), set())


async def test_one_that_is_configured_is_registered_no_more_and_leaves_with_the_configuration(site) -> None:
    await site.registration.add(ANNA, None)
    await site.reload(site.place.configuration(("[[saes]]", f'[[saes]]\nid = "{ANNA}"\nsite = "A"\n{CONFIGURED[1]}')))
    assert site.on_disk == (set(), set())
    assert site.rules.home(ANNA) == A
    await site.reload(site.place.configuration(CONFIGURED))
    assert site.links.burned == [ANNA]
    assert site.rules.home(ANNA) is None


async def test_a_registered_one_that_is_configured_elsewhere_leaves(site) -> None:
    await site.registration.add(ANNA, None)
    await site.reload(site.place.configuration(("[[saes]]", f'[[saes]]\nid = "{ANNA}"\nsite = "B"\n{CONFIGURED[1]}')))
    assert site.links.burned == [ANNA]
    assert site.on_disk == (set(), set())
    assert site.rules.home(ANNA) == B


async def test_a_link_that_fails_is_asked_again_and_no_other(site, monkeypatch) -> None:
    await site.registration.add(ANNA, None)
    site.links.failing = {C}
    with pytest.raises(Unavailable, match="its keys are burned as soon as"):
        await site.registration.remove(ANNA)
    async with site.burning(monkeypatch):
        await until(lambda: site.links.asked.count(C) > 3)
        site.links.failing = set()
        await until(lambda: site.on_disk == (set(), set()))
    assert site.links.asked.count(B) == 1
