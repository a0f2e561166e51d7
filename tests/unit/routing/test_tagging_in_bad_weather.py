"""Whatever gets lost, is forged, said again or starts anew: no key serves twice, nothing false comes in, it ends well.

The pair that is disturbed checks at each step that no piece of key makes two tags, and none is accepted twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from qss.core.routing import events as ev
from qss.simulation.routing import FAR_OFF
from qss.wire import routing as wire
from support.tagged_routers import OTHER, STREAM, A, B, TaggedPair, tag_of

SITES = (A, B)


class Weather:
    """What happens to a pair, by chance."""

    def __init__(self, pair: TaggedPair, seed: int) -> None:
        self.pair = pair
        self.dice = random.Random(seed)
        self.loss = 0.0
        self.told = 0
        pair.disturb = self._disturb

    def _disturb(self, _: str, message: wire.Message) -> list[wire.Message]:
        return [] if self.dice.random() < self.loss else [message]

    def step(self) -> None:
        happens: list[Callable[[], None]] = [
            self._tell, self._tell, self._tell, self._lose, self._cut, self._restart, self._replay, self._forge,
            self._claim, self._lack, self._junk,
        ]  # fmt: skip
        self.dice.choice(happens)()
        self.pair.run(self.dice.choice((0.05, 0.5, 3.0)), reconnect=True)

    def calm(self) -> None:
        self.loss, self.pair.has_key = 0.0, True

    def _site(self) -> str:
        return self.dice.choice(SITES)

    def _tell(self) -> None:
        site = self._site()
        self.told += 1
        self.pair.tell(site, f"sae:{site.lower()}", f"sae:{self.told}")

    def _lose(self) -> None:
        self.loss = self.dice.choice((0.0, 0.1, 0.5))

    def _cut(self) -> None:
        if self.pair.connected:
            self.pair.cut()

    def _restart(self) -> None:
        self.pair.start(self._site())

    def _replay(self) -> None:
        old = [(by, message) for by, message in self.pair.sent if isinstance(message, wire.Tagged | wire.Tags)]
        if old and self.pair.connected:
            self.pair.say(*self.dice.choice(old))

    def _forge(self) -> None:
        old = [(by, message) for by, message in self.pair.sent if isinstance(message, wire.Tagged)]
        if old and self.pair.connected:
            by, message = self.dice.choice(old)
            body = msgspec.structs.replace(
                wire.decode_body(wire.decode_update(message.update).carried[0].body), sequence=1000, timestamp=FAR_OFF
            )
            carried = wire.Carried(by, 0, wire.encode_body(body), wire.Authentication("simulated", (), b""))
            update = wire.encode_update(wire.Update((carried,)))
            self.pair.say(by, msgspec.structs.replace(message, update=update, place=message.place + 32))

    def _junk(self) -> None:
        """A neighbour tags what breaks the protocol, as well as it can tag anything."""
        site = self._site()
        peer, ranges = OTHER[site], self.pair.routers[site].tags(OTHER[site]).theirs.ranges
        if ranges and self.pair.connected:
            place = ranges[-1].place
            foreign = wire.Carried("C", 0, b"body", wire.Authentication("simulated", (), b""))
            data = self.dice.choice((b"junk", wire.encode_update(wire.Update((foreign,)))))
            text = wire.tagged_text(peer, site, STREAM.value, place, data)
            self.pair.say(peer, wire.Tagged(STREAM.value, place, data, tag_of(STREAM.value, place, text)))

    def _claim(self) -> None:
        site = self._site()
        if self.pair.connected:
            held = self.pair.routers[site].tags(OTHER[site]).theirs.told
            moved = tuple(
                msgspec.structs.replace(each, place=max(0, each.place + 32 * self.dice.randrange(-3, 64)))
                for each in held
            )
            self.pair.say(site, wire.Tags(self.dice.random() < 0.5, moved))

    def _lack(self) -> None:
        self.pair.has_key = not self.pair.has_key


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("ends", [("required", "required"), ("offered", "required"), ("offered", "offered")])
def test_whatever_happens_it_ends_well_once_the_weather_is_calm(ends: tuple[str, str], seed: int) -> None:
    pair = TaggedPair(*ends)
    pair.connect()
    weather = Weather(pair, seed)
    for _ in range(60):
        weather.step()
        for site, setting in zip(SITES, ends, strict=True):
            plain = [count for (_, _, is_tagged), count in pair.routers[site].updates.items() if not is_tagged]
            assert setting == "offered" or not plain, "it took or sent what it requires to be tagged"
    weather.calm()
    pair.run(150, reconnect=True)
    assert pair.phases == ["full", "full"]
    assert pair.agree()
    for site in SITES:
        tags = pair.routers[site].tags(OTHER[site])
        kept = {
            (each.stream, each.part, ranges is tags.own) for ranges in (tags.own, tags.theirs) for each in ranges.ranges
        }
        assert pair.taggers[site].known.keys() == kept, "key is kept that nobody will use, or used that is not kept"
    assert pair.updates(tagged=True) > 0
    reasons = {reason for _, reason in pair.dropped if reason is not ev.Reason.EXPIRED}
    assert reasons <= {ev.Reason.TAG, ev.Reason.SIGNATURE, ev.Reason.LAST, ev.Reason.PROTOCOL}
