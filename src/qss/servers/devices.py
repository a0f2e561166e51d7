"""What the Admin interfaces of sites and of modules do with simulated devices: show their settings, and change them."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.servers.admin_door import Action
from qss.servers.messages import JSON, Response
from qss.wire.device import parse_change, render_settings

DEVICES_PATH = "/devices/"
"""What the paths of devices begin with; the pair's UUID follows."""

_log = structlog.get_logger(__name__)


def device_action(adjust: Callable[[str, SettingsChange], SimulatorSettings]) -> Action:
    """Return the action behind `DEVICES_PATH`; `adjust` changes the device of a pair, by its UUID, or raises."""

    async def act(who: str, pair: str, body: bytes) -> Response:
        change = parse_change(body)
        settings = adjust(pair, change)
        if change:
            _log.warning("a simulated device was set", audit=True, by=who, pair=pair, change=dict(change))
        return Response(200, JSON, render_settings(settings))

    return act
