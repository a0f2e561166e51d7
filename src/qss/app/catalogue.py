"""The catalogue of adapters: which one a table of the configuration stands for."""

from __future__ import annotations

from typing import assert_never

from qss.adapters.devices.simulator import RateSetSimulator, UnsafeSeededSimulator
from qss.adapters.keyrings.key_file import key_file_ring
from qss.adapters.keyrings.passphrase import PassphraseKeyRing, read_passphrase_file
from qss.adapters.keyrings.systemd import systemd_ring
from qss.app import site_tables as tables
from qss.ports.device import Device
from qss.ports.keyring import KeyRing


def keyring_of(table: tables.KeyRingTable) -> KeyRing:
    """Return the key ring of `[keyring]`."""
    match table:
        case tables.PassphraseKeyRing(file=file):
            return PassphraseKeyRing(lambda: read_passphrase_file(file))
        case tables.KeyFileKeyRing(file=file):
            return key_file_ring(file)
        case tables.SystemdKeyRing(credential=credential):
            return systemd_ring(credential)
        case _:
            assert_never(table)


def device_of(table: tables.DeviceTable) -> Device:
    """Return one end of the device pair of a link."""
    match table:
        case tables.Simulator():
            return RateSetSimulator(table.rate_bps, qber=table.qber, block_bytes=table.block_bytes)
        case tables.SeededSimulator():
            return UnsafeSeededSimulator(table.rate_bps, table.seed, qber=table.qber, block_bytes=table.block_bytes)
        case _:
            assert_never(table)
