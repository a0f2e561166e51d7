"""Settings of a module's device: changed while key flows, refused where they cannot be."""

from __future__ import annotations

import asyncio

import pytest

from qss.adapters.devices.file import FileDevice
from qss.model.errors import BadRequest
from qss.ports.device import DeviceRole
from qss.runtime.module import QkdModule
from support.module_runners import FAST_BPS, B, TwoModules, chunks, raise_defect, until


async def test_a_device_is_set_while_key_flows_and_the_other_end_shows_it():
    async with TwoModules() as modules:
        opened = await modules.open()
        await asyncio.gather(*(chunks(m, opened.stream, 5) for m in (modules.a, modules.b)))
        assert modules.a.adjust_device({}).rate_bps == FAST_BPS
        assert modules.a.adjust_device({"rate_bps": 1e7, "qber": 0.05}).qber == 0.05
        await asyncio.gather(*(chunks(m, opened.stream, 5, 5) for m in (modules.a, modules.b)))
        await until(lambda: modules.b.status().device.rate_bps == 1e7)
        modules.a.adjust_device({"off": True, "buffer_bits": 0})
        await until(lambda: modules.b.status().device.note == "an outage was set by hand")
        await asyncio.sleep(0.05)  # a block may have been there already
        before = modules.a.status().counts.read
        await asyncio.sleep(0.05)
        assert modules.a.status().counts.read == before
        modules.a.adjust_device({"off": False})
        await until(lambda: modules.a.status().counts.read > before)
        with pytest.raises(BadRequest, match="lower ID"):
            modules.b.adjust_device({"off": True})
        assert modules.b.adjust_device({}).rate_bps == 1e7


async def test_of_settings_that_cannot_be_none_is_changed():
    async with TwoModules() as modules:
        before = modules.a.adjust_device({})
        with pytest.raises(BadRequest, match="cannot have jitter 2"):
            modules.a.adjust_device({"rate_bps": 1.0, "jitter": 2})
        assert modules.a.adjust_device({}) == before


async def test_a_device_that_is_no_simulator_sets_itself(tmp_path):
    module = QkdModule(FileDevice(tmp_path / "key"), DeviceRole.INITIATOR, B, raise_defect)
    with pytest.raises(BadRequest, match="no simulator, but file"):
        module.adjust_device({"off": True})
