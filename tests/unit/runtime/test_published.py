"""What a key server has published, and for how long that counts."""

from __future__ import annotations

from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load, SiteState
from qss.runtime.published import SILENT_S, Published
from qss.wire.site_state import Publication

B = QksId("B")
STATE = SiteState({SaeId("sae:alice"): None}, {SaeId("sae:far"): B}, {B: Load(1, 2)})


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[SiteState] = []
        self.published = Published(self, lambda: self.now)

    def publish(self, state: SiteState) -> None:
        self.told.append(state)

    def whole(self, state: SiteState = STATE, revision: int = 7) -> bool:
        return self.published.take(Publication(revision, True, state))

    def links(self, bits: int, revision: int = 7) -> bool:
        return self.published.take(Publication(revision, False, SiteState(links={B: Load(bits, 2)})))


def test_before_the_key_server_has_said_anything_there_is_nothing_to_tell() -> None:
    world = World()
    world.published.look()
    assert (world.told, world.published.heard) == ([], False)


def test_links_alone_leave_the_rest_as_it_was_told() -> None:
    world = World()
    assert world.whole()
    assert world.links(5)
    assert world.told == [STATE, SiteState(STATE.saes, STATE.homes, {B: Load(5, 2)})]
    assert world.published.heard


def test_links_of_a_revision_that_is_not_known_are_not_taken() -> None:
    world = World()
    assert not world.links(5)
    assert not world.published.heard
    assert world.whole()
    assert not world.links(5, revision=8)
    assert world.told == [STATE]
    assert world.whole(revision=8)
    assert not world.links(5, revision=7)
    assert world.links(5, revision=8)


def test_the_links_of_a_silent_key_server_are_down_and_its_saes_stay() -> None:
    world = World()
    world.whole()
    world.now += SILENT_S
    world.published.look()
    assert world.told[-1] == STATE
    assert world.published.heard
    world.now += 0.1
    world.published.look()
    assert world.told[-1] == SiteState(STATE.saes, STATE.homes, {})
    assert not world.published.heard
    world.published.look()
    assert world.told[-1].links == {}
    assert world.links(3)
    assert world.told[-1] == SiteState(STATE.saes, STATE.homes, {B: Load(3, 2)})
    assert world.published.heard
