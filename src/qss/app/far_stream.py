"""One end-to-end stream at this end: what it has, what was taken of it, and its module, whose device is the relay.

Not here: when a stream begins and goes (`far_streams`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from qss.core.keyserver.warmth import Warmth
from qss.core.module import Phase
from qss.model.errors import LimitReached
from qss.model.identifiers import StreamId
from qss.model.keys import Priority
from qss.runtime.link import LinkRunner
from qss.runtime.module import QkdModule
from qss.runtime.relay.blocks import StreamBlocks
from qss.runtime.relay.ends import Ends
from qss.runtime.tasks import Tasks


@dataclass(slots=True)
class FarStream:
    """One end-to-end stream at this end."""

    ends: Ends
    runner: LinkRunner
    warmth: Warmth
    tasks: Tasks
    module: QkdModule = field(init=False)
    blocks: StreamBlocks | None = None
    """What makes blocks, at the source."""
    unwatch: Callable[[], None] = field(init=False)
    """Ends that the module is attached as soon as it can be."""
    used: dict[StreamId, int] = field(default_factory=dict)
    """How many bits of each stream were used when that was looked at last."""
    waiting: Counter[tuple[Priority, int]] = field(default_factory=Counter)
    """Requests that wait for key of it, by their priority and how many bytes they want."""

    @contextmanager
    def waiting_for(self, priority: Priority, length: int) -> Iterator[None]:
        """Have whose priority is lower stand back, once there is so much."""
        self.waiting[priority, length] += 1
        try:
            yield
        finally:
            self.waiting[priority, length] -= 1
            if not self.waiting[priority, length]:
                del self.waiting[priority, length]

    def is_turn_of(self, priority: Priority) -> bool:
        """Whether nobody of a higher priority waits for whom there is enough.

        Who wants more than there is keeps nobody waiting: it may never come.
        """
        link, text = self.runner.core, self.ends.policy.text
        higher = (length for other, length in self.waiting if other.rank > priority.rank)
        return not any(link.key_count(length, text) > 0 for length in higher)

    def why(self, waited_s: float) -> str:
        """Return, for whoever asked, why no key has come within so many seconds, and what helps."""
        peer, waited = self.ends.peer, f"within {waited_s:g} s; nothing was consumed; try again later"
        if not self.runner.core.up:
            return (
                f"site {peer} cannot be reached, {waited}, and if that does not help, have the operators of both sites "
                "look at external.address: `qss route lsdb` shows what the network is told"
            )
        if self.blocks is not None and self.blocks.trouble:
            return f"{self.blocks.trouble}, {waited}, or ask for less"
        return f"not enough key could be relayed to site {peer}, {waited}, or ask for less"

    def stock(self) -> int:
        """As `qss.runtime.relay.blocks.Stock`.

        What earlier streams have left is not counted: it may be in pieces that no request fits into.
        """
        link = self.runner.core
        filled = link.open_stream(self.ends.pair)
        return self.module.held_bytes + sum(record.available for record in link.streams if record.stream == filled)

    def taken(self) -> int:
        """As `qss.runtime.relay.blocks.Stock`. What has only grown old was not taken: nobody wants more for that."""
        before, self.used = self.used, {}
        taken = 0
        for record in self.runner.core.streams:
            if record.policy == self.ends.policy.text:
                used = self.used[record.stream] = record.tally.reserved + record.tally.delivered
                taken += max(0, used - before.get(record.stream, used))
        return taken // 8

    def relayed(self, repeaters: int) -> None:
        """As `qss.runtime.relay.blocks.Stock`; said at the destination too, before the module has a block."""
        stream = self.module.view().stream
        if stream is not None:
            self.runner.sources.relayed(stream, repeaters)

    def attach_once_connected(self) -> None:
        """Let the link open streams at a module that has found its other end: sooner it would be asked in vain."""
        pair, sources = self.ends.pair, self.runner.sources
        if self.module.view().phase is Phase.DOWN or pair in self.runner.core.attached:
            return
        try:
            sources.attach(pair, self.module, self.ends.policy.text)
        except LimitReached as error:
            assert self.blocks is not None
            self.blocks.trouble = str(error)
