"""Which keys of a vendor's box make which block: the same at both ends, because both are told the same in the same
order (Boxes 2.3 to 2.5). Pure: no input or output, no time.

    IDLE ──offered──▶ OFFERED ──held──▶ IDLE       the keys are part of the next block, at both ends
                      OFFERED ──dropped─▶ IDLE     the keys are part of no block, at both ends

Any other order is a defect and raises. A block is done with the offer that makes it long enough. A key ID that comes
again ends it all: a box that gives keys twice is not to be trusted with any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from qss.model.errors import DeviceError, LocalProtocolError, RemoteProtocolError
from qss.model.identifiers import KeyId
from qss.model.key_material import KeyMaterial

REMEMBERED_IDS = 4096
"""How many of the latest key IDs are known again."""


class KnownIds:
    """The latest key IDs that a device was given, over all its key streams."""

    def __init__(self) -> None:
        self._latest: deque[KeyId] = deque(maxlen=REMEMBERED_IDS)

    def note(self, key_ids: Sequence[KeyId]) -> None:
        """Take in new ones. Raises `DeviceError` if one of them is known, or comes twice."""
        if len(set(key_ids)) < len(key_ids) or not set(key_ids).isdisjoint(self._latest):
            raise DeviceError("the box gave a key ID a second time, so perhaps the key as well; ask its vendor")
        self._latest.extend(key_ids)


class KeyBlocks:
    """The keys of one key stream at one end. Sizes in bytes."""

    def __init__(self, key_bytes: int, block_bytes: int, max_keys: int, known: KnownIds) -> None:
        """Make blocks of at least `block_bytes` from keys of `key_bytes`, at most `max_keys` from one request.

        `known` is the device's: no key ID may be among those of its earlier key streams either.
        """
        self._key_bytes = key_bytes
        self._block_bytes = block_bytes
        self._max_keys = max_keys
        self._at_hand = max_keys
        self._offered: tuple[KeyId, ...] | None = None
        self._parts: list[KeyMaterial] = []
        self._length = 0
        self._known = known
        self.dropped_bytes = 0
        """Key that one end alone had."""
        self.dropped_in_a_row = 0
        """Offers dropped since the last that was held."""

    @property
    def next_number(self) -> int:
        """How many keys to ask for now: at least 1, and no more than complete the block."""
        return min(self._missing, self._max_keys, self._at_hand)

    @property
    def _missing(self) -> int:
        return max(1, -(-(self._block_bytes - self._length) // self._key_bytes))

    def short(self, stored: int | None) -> None:
        """The box refused for want of key, and says that it has `stored` keys: ask for no more than that."""
        self._at_hand = stored or self._max_keys

    def offered(self, key_ids: Sequence[KeyId]) -> None:
        """The master's box gave keys of these IDs. Raises `DeviceError` if one was given before."""
        if self._offered is not None:
            raise LocalProtocolError("keys were offered while others were")
        if not 1 <= len(key_ids) <= self._missing:
            raise RemoteProtocolError(f"{len(key_ids)} keys were offered where {self._missing} complete the block")
        self._known.note(key_ids)
        self._offered = tuple(key_ids)
        self._at_hand = self._max_keys

    def held(self, keys: Sequence[KeyMaterial]) -> None:
        """Both ends have the keys that were offered."""
        self._settle(len(keys))
        if any(len(key) != self._key_bytes for key in keys):
            raise LocalProtocolError("keys of another size were held")
        self._parts += keys
        self._length += self._key_bytes * len(keys)
        self.dropped_in_a_row = 0

    def dropped(self) -> None:
        """One end does not have all the keys that were offered: neither uses any of them."""
        count = self._settle()
        self.dropped_bytes += self._key_bytes * count
        self.dropped_in_a_row += 1

    def _settle(self, count: int | None = None) -> int:
        if self._offered is None or count not in (None, len(self._offered)):
            raise LocalProtocolError("keys were settled that were not offered")
        settled, self._offered = len(self._offered), None
        return settled

    def take(self) -> KeyMaterial | None:
        """Return the block if it is complete, and begin the next one; else None."""
        if self._length < self._block_bytes:
            return None
        block = KeyMaterial(b"".join(part.reveal() for part in self._parts))
        self._parts, self._length = [], 0
        return block
