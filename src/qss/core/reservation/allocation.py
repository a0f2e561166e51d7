"""Which bytes may be allocated, and from which stream: for either end's masters alike, and for relays.

Masters leave alone what relaying needs and what requests of a higher priority may need, and relays what applications
need; tags, which are little and keep the link in the network, leave nothing. No end holds more reservations than it
may. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Iterator

from qss.core.reservation.ledger import StreamLedger
from qss.core.reservation.state import LinkState
from qss.model.keys import Priority
from qss.wire.external import Purpose


def is_full(state: LinkState) -> bool:
    """Whether this end holds as many reservations as it may."""
    return len(state.rows) + len(state.pending) >= state.settings.max_reservations


def ledger_with(state: LinkState, length: int, policy: str, priority: Priority) -> StreamLedger | None:
    """Return the stream of a policy to allocate `length` bytes for a master's request of this priority from."""
    return _ledger_leaving(state, _left_alone(state, policy, priority), length, policy)


def ledger_for_draw(state: LinkState, length: int, purpose: Purpose, *, urgent: bool) -> StreamLedger | None:
    """Return the stream to allocate `length` bytes for a draw from (Relay 3.5): relayed key is not relayed again."""
    floor = max(state.settings.relay_floor_bytes, state.settings.high_priority_bytes)
    if purpose is Purpose.TAGS:
        floor = 0
    elif not urgent:
        floor = max(floor, state.settings.capacity_bytes // 2)
    return _ledger_leaving(state, floor, length, "")


def _ledger_leaving(state: LinkState, least: int, length: int, policy: str) -> StreamLedger | None:
    """Return the stream of a policy to allocate from, unless all of these were left with less than `least`.

    Closed ones come first, so that they come to an end; then the one that has most, so that all device pairs are drawn
    on in the measure of their rates.
    """
    if sum(ledger.allocatable for ledger in _ledgers_of(state, policy)) - length < least:
        return None
    fitting = [ledger for ledger in _ledgers_of(state, policy) if ledger.allocatable >= length]
    closed = next((ledger for ledger in fitting if ledger.record.closed), None)
    return closed or max(fitting, key=lambda ledger: ledger.allocatable, default=None)


def key_count(state: LinkState, key_bytes: int, policy: str, priority: Priority) -> int:
    """Return how many keys of this size could be reserved one by one now, at this priority, of a policy's streams."""
    if not state.up:
        return 0
    left = _left_alone(state, policy, priority)
    count = 0
    for ledger in sorted(_ledgers_of(state, policy), key=lambda ledger: ledger.allocatable):
        count += max(0, ledger.allocatable - left) // key_bytes
        left = max(0, left - ledger.allocatable)
    return count


def _ledgers_of(state: LinkState, policy: str) -> Iterator[StreamLedger]:
    return (ledger for ledger in state.ledgers.values() if ledger.record.policy == policy)


def _left_alone(state: LinkState, policy: str, priority: Priority) -> int:
    """What a request leaves of a link's own key (KRP 4.21); of relayed key nothing, which comes as it is asked for."""
    settings = state.settings
    if policy:
        return 0
    match priority:
        case Priority.HIGH:
            return settings.relay_reserve_bytes
        case Priority.NORMAL:
            return settings.relay_reserve_bytes + settings.high_priority_bytes
        case Priority.LOW:
            return max(settings.relay_reserve_bytes + settings.high_priority_bytes, settings.capacity_bytes // 2)
