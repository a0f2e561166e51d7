"""The device pairs of a link at one end: which are attached, and when the owner may ask one for a stream (KRP 3.5).

A pair at the owner, while its module is attached::

    state    what it means                                  leaves it
    ───────  ─────────────────────────────────────────────  ──────────────────────────────────────────
    ready    a stream may be asked for                      `asked` ▶ asking
    asking   the module has been asked, and has to answer   `opened` ▶ ready, `ended` ▶ pausing
    pausing  a stream has ended, or could not be opened     the pause passes ▶ ready

The pause doubles while streams end soon after they were opened, for as long as the connection between the key servers
lasts: whatever is wrong there is not mended by opening more.

A module that is detached while it is asked answers all the same; its pair is asked again only after that. At the other
end, which joins what the owner opens, pairs are attached or not, and nothing else.

Not here: whether a pair has a stream that takes key (`streams`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qss.model.errors import LocalProtocolError
from qss.model.identifiers import PairId

MAX_PAIRS = 64
"""Device pairs of one link."""


LONGEST_PAUSE_S = 8.0
"""Longest pause before a pair is asked again."""

LASTING_S = 10.0
"""A stream that lasted so long did not end soon."""


@dataclass(slots=True)
class _Pair:
    policy: str
    attached: bool = False
    asking: bool = False
    open_at: float = 0.0
    opened_at: float | None = None
    pause_s: float = 0.0


class Pairs:
    """What is known of each pair. Times are in seconds of a clock that never steps."""

    def __init__(self) -> None:
        self._pairs: dict[PairId, _Pair] = {}

    @property
    def attached(self) -> frozenset[PairId]:
        """The pairs whose module is attached."""
        return frozenset(pair for pair, known in self._pairs.items() if known.attached)

    def policy_of(self, pair: PairId) -> str:
        """How key of this pair comes; nothing is known of one that is not attached."""
        return self._pairs[pair].policy if pair in self._pairs else ""

    def attach(self, pair: PairId, policy: str = "") -> None:
        """The pair's module can be asked from now on. Raises `LocalProtocolError` beyond `MAX_PAIRS`."""
        if len(self.attached | {pair}) > MAX_PAIRS:
            raise LocalProtocolError(f"more than {MAX_PAIRS} device pairs were attached to one link")
        known = self._pairs.setdefault(pair, _Pair(policy))
        known.attached, known.policy = True, policy

    def detach(self, pair: PairId) -> None:
        """The pair's module cannot be asked any more."""
        if pair in self._pairs:
            self._pairs[pair].attached = False

    def forget(self, pair: PairId) -> None:
        """Nothing is remembered of a pair that is not attached."""
        if pair in self._pairs and not self._pairs[pair].attached:
            del self._pairs[pair]

    def asked(self, pair: PairId) -> None:
        """The pair's module is being asked for a new stream."""
        self._pairs[pair].asking = True

    def opened(self, pair: PairId, now: float) -> None:
        """The pair's module has opened a stream."""
        if pair in self._pairs:
            self._pairs[pair].asking = False
            self._pairs[pair].opened_at = now

    def ended(self, pair: PairId, now: float, pause_s: float, *, answer: bool) -> None:
        """A stream of the pair has ended, or could not be opened (an answer): it may be asked after a pause.

        That is `pause_s`, but doubled each time for streams that did not last.
        """
        known = self._pairs.get(pair)
        if known is None:
            return
        known.open_at = now + pause_s
        if answer:
            known.asking = False
        elif known.opened_at is not None:
            lasted = now - known.opened_at >= LASTING_S
            known.pause_s = pause_s if lasted or not known.pause_s else min(LONGEST_PAUSE_S, 2 * known.pause_s)
            known.open_at = now + known.pause_s

    def begin_anew(self) -> None:
        """The key servers are connected anew: what ended streams before is perhaps over."""
        for known in self._pairs.values():
            known.opened_at, known.pause_s = None, 0.0

    def ready(self, now: float) -> Iterator[PairId]:
        """Yield the attached pairs that may be asked now; forget those that are detached and have no pause left."""
        for pair, known in list(self._pairs.items()):
            if known.asking or known.open_at > now:
                continue
            if known.attached:
                yield pair
            else:
                del self._pairs[pair]
