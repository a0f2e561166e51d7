"""Changing a simulated device while it runs."""

from __future__ import annotations

from dataclasses import replace

from qss.model.errors import BadRequest, DeviceError
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.ports.device import AdjustableDevice, Device


def adjusted(device: Device, change: SettingsChange) -> SimulatorSettings:
    """Change settings of a simulated device; return all that it has then. None are changed if one cannot be.

    Raises `BadRequest` if they cannot be, or are not this end's to change, or the device is no simulator.
    """
    if not isinstance(device, AdjustableDevice):
        raise BadRequest(f"the device of this pair is no simulator, but {device.status().kind}: it sets itself")
    try:
        if change:
            device.adjust(replace(device.settings, **change))
    except DeviceError as error:
        raise BadRequest(str(error)) from error
    return device.settings
