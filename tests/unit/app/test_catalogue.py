"""The catalogue hands every setting of a device's table to its adapter."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import msgspec
import pytest

from qss.app.catalogue import device_of
from qss.app.site_tables import CourieredKey, SeededSimulator, Simulator
from qss.model.simulator_settings import SimulatorSettings

SET = {
    "rate_bps": 2e5,
    "qber": 0.03,
    "qber_limit": 0.1,
    "jitter": 0.2,
    "buffer_bits": 5000,
    "start_up_s": 1.5,
    "outage_every_s": 60.0,
    "outage_s": 2.0,
}


@pytest.mark.parametrize("table", [Simulator(**SET), SeededSimulator(**SET, seed=7)])
def test_a_simulator_is_set_as_its_table_says(table) -> None:
    assert asdict(device_of(table).settings) == SET | {"off": False}
    assert {field.name for field in fields(SimulatorSettings)} - {"off"} <= set(table.__struct_fields__)


def test_defaults_of_a_table_are_those_of_the_settings() -> None:
    assert device_of(Simulator(rate_bps=1.0)).settings == SimulatorSettings(rate_bps=1.0)


def test_couriered_key_is_used_as_its_table_says(tmp_path: Path) -> None:
    table = CourieredKey(
        path=tmp_path / "key", state=tmp_path / "s", used="removed", rate_bps=5.0, block_bytes=2048, warn_bits=9
    )
    device = device_of(table)
    assert device.status().rate_bps == 5.0
    held = vars(device) | vars(vars(device)["_files"])
    assert (held["_path"], held["_state"], held["_used"]) == (table.path, table.state, "removed")
    assert (held["_block_bytes"], held["_warn_bits"]) == (2048, 9)
    defaults = vars(device_of(CourieredKey(path=tmp_path / "key")))
    assert vars(defaults["_files"])["_state"] == tmp_path / "key.state"
    assert len(msgspec.structs.fields(CourieredKey)) == 6, "a new key is to be handed on"
