"""A module's state as administrators see it: of one in this process, and of one that tells of itself (QRP 4)."""

from __future__ import annotations

from collections.abc import Mapping

from qss.core.module import Phase
from qss.model.health import HealthTest
from qss.ports.device import DeviceStatus
from qss.runtime.module import ModuleStatus
from qss.wire.qrp import DeviceCard, PairState, StreamPhase
from qss.wire.status import DeviceState, ModuleState

OUTCOMES = ("read", "check", "accepted", "delivered", "unused", "unequal", "unfinished")
"""What becomes of the bits of a device; members of `core.module.counts.Counts`, which counts bytes."""


def module_state(status: ModuleStatus) -> ModuleState:
    """Return the state of a module in this process."""
    return ModuleState(
        phase=status.phase,
        up=status.phase is Phase.RUNNING,
        security=status.security,
        device=_device(status.device),
        bits=_bits({outcome: getattr(status.counts, outcome) for outcome in OUTCOMES}),
        owed_s=int(status.owed_s),
        health_failures=_failures({str(test): count for test, count in status.counts.unhealthy.items()}),
    )


def told_state(state: PairState) -> ModuleState:
    """Return what a module in a process of its own said last."""
    return ModuleState(
        phase=state.phase,
        up=state.phase is StreamPhase.RUNNING,
        security=state.security,
        device=_device(state.device),
        bits=_bits(state.counts),
        owed_s=state.owed_s,
        health_failures=_failures(state.unhealthy),
    )


def _device(device: DeviceStatus | DeviceCard) -> DeviceState:
    return DeviceState(
        kind=device.kind,
        running=device.running,
        rate_bps=device.rate_bps,
        qber=device.qber,
        simulated=device.simulated,
        seeded=device.seeded,
        lost_bits=device.lost_bits,
        left_bits=device.left_bits,
        note=device.note,
    )


def _bits(counts: Mapping[str, int]) -> dict[str, int]:
    return {outcome: 8 * counts.get(outcome, 0) for outcome in OUTCOMES}


def _failures(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the count of each test, from the start, so that rates miss none."""
    return {test: counts.get(test, 0) for test in HealthTest}
