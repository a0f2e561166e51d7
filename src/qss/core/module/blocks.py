"""The block check of one key stream at one end: tags out and in, verdicts out and in, and what follows (Sync 4).

Blocks are checked and decided strictly in order. Each end's tag of a block leaves it once. A block is accepted if both
verdicts say that it is the same at both ends, and burned otherwise. Each end compares two tags of the same two blocks,
so two honest verdicts differ only if a message was altered on its way: then nothing more is accepted, because the ends
would append different blocks from there on.
"""

from __future__ import annotations

import hmac
from collections import deque
from dataclasses import dataclass

from qss.core.module.counts import Counts
from qss.core.module.events import Accept, Burn, Effect, Tagged
from qss.model.errors import RemoteProtocolError
from qss.wire.sync import BLOCKS_IN_CHECK, Check, Message, Verdict


@dataclass(slots=True)
class _Block:
    length: int
    expected: bytes
    equal: bool = False
    judged_at: float = 0.0


class BlockChecks:
    """The blocks in check. What it says goes to `messages`, what it decides to `effects`."""

    def __init__(self, counts: Counts, messages: list[Message], effects: list[Effect]) -> None:
        self._counts = counts
        self._messages = messages
        self._effects = effects
        self._blocks: deque[_Block] = deque()  # from block number `_decided`
        self._tags: deque[bytes] = deque()  # the peer's, from block number `_judged`
        self._decided = 0
        self._judged = 0
        self.bytes_in_check = 0
        """What remains of the blocks in check."""

    @property
    def next_number(self) -> int:
        """The number of the next block that this end checks."""
        return self._decided + len(self._blocks)

    @property
    def full(self) -> bool:
        """Whether no further block may be put in check now (Sync 4.5)."""
        return len(self._blocks) >= BLOCKS_IN_CHECK

    @property
    def unfinished(self) -> int:
        """How many blocks are in check."""
        return len(self._blocks)

    def tagged(self, event: Tagged, now: float) -> None:
        """Put this end's next block in check: say its tag (Sync 4.2)."""
        self._messages.append(Check(event.number, event.ours))
        self._blocks.append(_Block(event.length, event.expected))
        self.bytes_in_check += event.length
        self._judge(now)

    def peer_checks(self, message: Check, now: float) -> None:
        """Take in the peer's tag of its next block (Sync 4.2, 4.5)."""
        if message.number != self._judged + len(self._tags):
            raise RemoteProtocolError(f"the Check of block {message.number} came out of turn")
        if len(self._tags) >= BLOCKS_IN_CHECK:
            raise RemoteProtocolError(f"more than {BLOCKS_IN_CHECK} blocks came to be checked")
        self._tags.append(message.tag)
        self._judge(now)

    def peer_judges(self, message: Verdict) -> None:
        """Take in the peer's verdict on the next block, which decides it (Sync 4.3, 4.4)."""
        # Whoever judges a block has said its own tag before, so this end has judged the block as well.
        if message.number != self._decided or message.number >= self._judged:
            raise RemoteProtocolError(f"the Verdict on block {message.number} came out of turn")
        block = self._blocks[0]
        if message.equal is not block.equal:
            raise RemoteProtocolError(f"the modules judge block {message.number} differently: a message was altered")
        self._blocks.popleft()
        self._decided += 1
        self.bytes_in_check -= block.length
        if block.equal:
            self._counts.accepted_blocks += 1
            self._counts.accepted += block.length
            self._effects.append(Accept(message.number))
        else:
            self._counts.unequal_blocks += 1
            self._counts.unequal += block.length
            self._effects.append(Burn(message.number))

    def stuck_since(self) -> float | None:
        """Return since when a verdict is due that the peer has not given, or None.

        A peer that has not checked a block owes none: it may be waiting for its own QKS.
        """
        return self._blocks[0].judged_at if self._decided < self._judged else None

    def _judge(self, now: float) -> None:
        """Compare the tags of all blocks that both ends have (Sync 4.3)."""
        while self._tags and self._judged < self.next_number:
            block = self._blocks[self._judged - self._decided]
            block.equal = hmac.compare_digest(block.expected, self._tags.popleft())
            block.judged_at = now
            self._messages.append(Verdict(self._judged, block.equal))
            self._judged += 1
