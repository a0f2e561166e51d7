"""What a simulated device is set to; can be changed while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from qss.model.errors import DeviceError

MAX_RATE_BPS = 10_000_000_000
MAX_BUFFER_BITS = 1 << 40
MIN_BETWEEN_OUTAGES_S = 1.0
MAX_DURATION_S = 31_536_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """Rates in bit/s, durations in seconds. Raises `DeviceError` for what cannot be."""

    rate_bps: float
    """Secret bits per second, while the device yields any."""
    qber: float = 0.02
    """Quantum bit error rate that it reports, 0 to 1."""
    qber_limit: float = 1.0
    """With a QBER above this it yields nothing."""
    jitter: float = 0.0
    """The time that each block takes differs from its mean by up to this part of it, 0 to 1."""
    buffer_bits: int | None = None
    """What it keeps while nobody reads it; more is lost. None: what comes in a quarter of a second."""
    start_up_s: float = 0.0
    """How long it yields nothing after each start."""
    outage_every_s: float | None = None
    """Mean time from the end of one outage to the next one, exponentially distributed. None: no outages."""
    outage_s: float = 10.0
    """Mean length of an outage, exponentially distributed."""
    off: bool = False
    """An outage that somebody has set by hand."""

    @property
    def trouble(self) -> str:
        """Why a device with these settings yields nothing; empty if it yields something."""
        if self.off:
            return "an outage was set by hand"
        if self.qber > self.qber_limit:
            return f"the QBER of {self.qber:g} is above {self.qber_limit:g}: nothing is distilled"
        return ""

    def __post_init__(self) -> None:
        for name, fits, allowed in (
            ("rate_bps", 0 < self.rate_bps <= MAX_RATE_BPS, f"above 0 to {MAX_RATE_BPS}"),
            ("qber", 0 <= self.qber <= 1, "0 to 1"),
            ("qber_limit", 0 <= self.qber_limit <= 1, "0 to 1"),
            ("jitter", 0 <= self.jitter <= 1, "0 to 1"),
            (
                "buffer_bits",
                self.buffer_bits is None or 0 <= self.buffer_bits <= MAX_BUFFER_BITS,
                f"0 to {MAX_BUFFER_BITS}",
            ),
            ("start_up_s", 0 <= self.start_up_s <= MAX_DURATION_S, f"0 to {MAX_DURATION_S:g}"),
            (
                "outage_every_s",
                self.outage_every_s is None or MIN_BETWEEN_OUTAGES_S <= self.outage_every_s <= MAX_DURATION_S,
                f"{MIN_BETWEEN_OUTAGES_S:g} to {MAX_DURATION_S:g}",
            ),
            ("outage_s", 0 < self.outage_s <= MAX_DURATION_S, f"above 0 to {MAX_DURATION_S:g}"),
        ):
            if not fits:
                raise DeviceError(f"a simulator cannot have {name} {getattr(self, name)}: set it to {allowed}")


class SettingsChange(TypedDict, total=False):
    """Some of the settings: those that change."""

    rate_bps: float
    qber: float
    qber_limit: float
    jitter: float
    buffer_bits: int | None
    start_up_s: float
    outage_every_s: float | None
    outage_s: float
    off: bool
