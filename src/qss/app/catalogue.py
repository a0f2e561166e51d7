"""The catalogue of adapters: which one a table of the configuration stands for. It alone names adapters."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, assert_never

from qss.adapters.devices.etsi004 import Etsi004Device
from qss.adapters.devices.etsi014 import Etsi014Device, Side
from qss.adapters.devices.file import FileDevice
from qss.adapters.devices.key_files import KeyFiles, Used
from qss.adapters.devices.simulator import RateSetSimulator, UnsafeSeededSimulator
from qss.adapters.identity.certificate import CertificateIdentity
from qss.adapters.keyrings.envelope import read_any
from qss.adapters.keyrings.key_file import key_file_ring, make_key_file
from qss.adapters.keyrings.passphrase import PassphraseKeyRing, passphrase_of, read_passphrase_file
from qss.adapters.keyrings.systemd import systemd_ring
from qss.adapters.sources.etsi004 import Etsi004Source
from qss.adapters.stores.anchor import AnchorFile
from qss.adapters.stores.sqlite import (
    SqliteStore,
    back_up_ledger,
    check_unopened,
    create_store,
    erase_blocks,
    restore_ledger,
    take_lock,
    was_started,
)
from qss.adapters.tables.remote import Asked, RemoteTable
from qss.app import site_tables as tables
from qss.client.etsi004 import Etsi004Client
from qss.client.vendor_box import VendorBox
from qss.model.addresses import Address
from qss.model.certificates import PeerCertificate, module_of
from qss.model.errors import DeviceError, Unauthorised
from qss.model.identifiers import QkdmId, QksId
from qss.pki.contexts import application_context
from qss.ports.anchor import Anchor
from qss.ports.device import Device
from qss.ports.identity import Identity
from qss.ports.key_source import KeySource
from qss.ports.keyring import KeyRing
from qss.ports.store import Store
from qss.wire.etsi004.framing import FORGE_VERSION, QUBIP_VERSION
from qss.wire.etsi004.messages import Form
from qss.wire.etsi004.status import Edition


def keyring_of(table: tables.KeyRingTable) -> KeyRing:
    """Return the key ring of `[keyring]`. Raises `KeyRingError` for a credential's name that is none."""
    match table:
        case tables.PassphraseKeyRing(file=file):
            return PassphraseKeyRing(lambda: read_passphrase_file(file))
        case tables.KeyFileKeyRing(file=file):
            return key_file_ring(file)
        case tables.SystemdKeyRing(credential=credential):
            return systemd_ring(credential)
        case _:
            assert_never(table)


def passphrase_keyring(passphrase: str) -> KeyRing:
    """Return the key ring of a passphrase that somebody has typed."""
    material = passphrase_of(passphrase)
    return PassphraseKeyRing(lambda: material)


def make_master_key(table: tables.KeyFileKeyRing) -> None:
    """Make the key file of `[keyring]` with a fresh master key. Raises `KeyRingError` if there is a file already."""
    make_key_file(table.file)


def device_of(table: tables.DeviceTable) -> Device:
    """Return one end of a device pair."""
    match table:
        case tables.Simulator():
            return RateSetSimulator(table.settings(), block_bytes=table.block_bytes)
        case tables.SeededSimulator():
            return UnsafeSeededSimulator(table.settings(), table.seed, block_bytes=table.block_bytes)
        case tables.CourieredKey():
            return FileDevice(
                table.path,
                state=table.state_folder,
                used=Used(table.used),
                rate_bps=table.rate_bps,
                block_bytes=table.block_bytes,
                warn_bits=table.warn_bits,
            )
        case tables.Etsi014():
            return Etsi014Device(
                partial(_client_of_014, table),
                Side(table.side),
                table.own_sae,
                table.other_sae,
                key_bits=table.key_bits,
                block_bytes=table.block_bytes,
                rate_bps=table.rate_bps,
            )
        case tables.Etsi004():
            return Etsi004Device(
                partial(_client_of_004, table),
                table.source,
                table.destination,
                chunk_bytes=table.chunk_bytes or 0,
                block_bytes=table.block_bytes,
                rate_bps=table.rate_bps,
            )
        case _:
            assert_never(table)


def check_device(table: tables.DeviceTable) -> None:
    """Look at what a device needs from this machine. Raises `PkiError` for certificates that cannot be used."""
    match table:
        case tables.Etsi014():
            _client_of_014(table)
        case tables.Etsi004():
            _client_of_004(table)


def note_on_device(table: tables.DeviceTable) -> str | None:
    """Return what an operator should know of a device that will yield nothing as it is now, else None."""
    if isinstance(table, tables.CourieredKey):
        try:
            KeyFiles(table.path, table.state_folder).look()
        except DeviceError as error:
            return str(error)
    return None


def _client_of_014(table: tables.Etsi014) -> VendorBox:
    """Return a client of a box, made anew for each key stream: the certificates may have been renewed."""
    return VendorBox(
        f"https://{table.address}",
        table.certificate,
        table.key,
        table.authority,
        table.other_sae,
        table.base_path,
        table.timeout_s,
    )


def _client_of_004(table: tables.Etsi004) -> Etsi004Client:
    """Return a client of a box, as `_client_of_014`. Its certificate must name the host that is called."""
    form = Form(table.form)
    return Etsi004Client(
        table.address,
        application_context(table.certificate, table.key, table.authority),
        lambda _: None,
        edition=Edition(table.edition),
        form=form,
        version=FORGE_VERSION if form is Form.FORGE else QUBIP_VERSION,
    )


class SouthboundSource(KeySource, Protocol):
    """A key source that calls a module in another process."""

    async def stop(self) -> None:
        """End the connection. Can be called twice."""
        ...


def southbound_source(address: Address, context: ssl.SSLContext, module: QkdmId) -> SouthboundSource:
    """Return the key source that pulls from `module` over ETSI GS QKD 004; no other server is taken at `address`."""

    def verify(certificate: PeerCertificate) -> None:
        found = module_of(certificate)
        if found != module:
            raise Unauthorised(f"{address} is module {found}, not {module}: correct the module's southbound.address")

    return Etsi004Source(address, context, verify)


def store_at(path: Path, site: QksId) -> Store:
    """Return the store of `site` in the file `path`, not yet started."""
    return SqliteStore(path, site)


def store_was_started(path: Path) -> bool:
    """Return whether a site has ever run on the store in the file `path`."""
    return was_started(path)


def check_store(path: Path, site: QksId) -> None:
    """Raise `StoreError` unless the file `path`, in use or not, is a store of `site` and this release."""
    check_unopened(path, site)


def make_store(path: Path, site: QksId) -> None:
    """Make an empty store of `site` in the file `path`. Raises `StoreError` or `StoreUnavailable`."""
    create_store(path, site)


def back_up_store(path: Path, site: QksId, copy: Path) -> int:
    """Write the ledger of the store in `path`, in use or not, without key, to the new file `copy`.

    Return its commit number. Raises `StoreError` or `StoreUnavailable`.
    """
    return back_up_ledger(path, site, copy)


def restore_store(copy: Path, site: QksId, path: Path) -> tuple[QksId, ...]:
    """Make the store of `site` in the new file `path` of a back-up's, its links to be burned; return the neighbours.

    Raises `StoreError` or `StoreUnavailable`.
    """
    return restore_ledger(copy, site, path)


def lock_store(path: Path) -> int:
    """Keep every process from starting the store in `path`, until the descriptor that this returns is closed.

    Raises `StoreInUse` if one has it open, `StoreError` if nobody can tell.
    """
    return take_lock(path)


def erase_sealed_key(path: Path) -> None:
    """Erase all sealed key of the store in `path`, whose lock the caller holds. Raises as `restore_store`."""
    erase_blocks(path)


def check_sealed_data_key(wrapped: bytes) -> None:
    """Raise `KeyRingError` if what a key ring has wrapped was damaged since."""
    read_any(wrapped)


def anchor_of(table: tables.Site) -> Anchor:
    """Return the anchor of `[site]`."""
    return AnchorFile(table.anchor_file)


def identity_of(fields: Sequence[str]) -> Identity:
    """Return how callers are known whose certificates' `fields` name them, tried in this order."""
    return CertificateIdentity(fields)


def remote_table_of(here: QksId, client: Asked, stale_s: float) -> RemoteTable:
    """Return the table of a routing module in a process of its own, whose Admin `client` asks."""
    return RemoteTable(here, client, stale_s)
