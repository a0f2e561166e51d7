"""Admin's change of a simulated device, as JSON: some of its settings, and the answer, which has all of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

import msgspec
from msgspec import UNSET, UnsetType

from qss.model.errors import BadRequest, DeviceError
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.wire.etsi014.json import decode_json


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    """Members are those of `SimulatorSettings`."""

    rate_bps: float | UnsetType = UNSET
    qber: float | UnsetType = UNSET
    qber_limit: float | UnsetType = UNSET
    jitter: float | UnsetType = UNSET
    buffer_bits: int | UnsetType | None = UNSET
    start_up_s: float | UnsetType = UNSET
    outage_every_s: float | UnsetType | None = UNSET
    outage_s: float | UnsetType = UNSET
    off: bool | UnsetType = UNSET


def parse_change(body: bytes) -> SettingsChange:
    """Return which settings change; none at all is a question for them. Raises `BadRequest`."""
    change = decode_json(body or b"{}", _Change)
    given = {name: getattr(change, name) for name in change.__struct_fields__}
    return cast("SettingsChange", {name: value for name, value in given.items() if value is not UNSET})


def render_change(change: SettingsChange) -> bytes:
    """Return the question."""
    return msgspec.json.encode(change)


def render_settings(settings: SimulatorSettings) -> bytes:
    """Return the answer."""
    return msgspec.json.encode(asdict(settings))


def parse_settings(body: bytes) -> SimulatorSettings:
    """Read the answer. Raises `BadRequest` if it is none."""
    try:
        return SimulatorSettings(**parse_change(body))
    except (TypeError, DeviceError):
        raise BadRequest("these are no settings of a simulator") from None
