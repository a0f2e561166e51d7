"""`qss init`: makes a site's data folder and says what to back up. It starts nothing and asks no network."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from qss.ports.keyring import KeyRing

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--site", required=True, metavar="ID", help="QKS ID of the site, as in its configuration.")
@click.option(
    "--passphrase-file",
    type=_FILE,
    envvar="QSS_PASSPHRASE_FILE",
    show_envvar=True,
    help="Master key from a passphrase: one line of at least 12 characters in a file of mode 0600.",
)
@click.option("--key-file", type=_FILE, help="Master key of 32 random bytes in a file of mode 0600.")
@click.option("--make-key", is_flag=True, help="Make the key file first.")
@click.option("--systemd-credential", metavar="NAME", help="Master key of 32 random bytes in a systemd credential.")
def command(
    folder: Path,
    site: str,
    passphrase_file: Path | None,
    key_file: Path | None,
    make_key: bool,  # noqa: FBT001 - click passes a command-line flag so
    systemd_credential: str | None,
) -> None:
    """Make the data folder DIR: an empty store, and a data key sealed under a master key.

    Without an option for the master key, a passphrase is asked for.
    """
    from qss.app.data_folder import LEDGER, initialise
    from qss.app.data_key_file import DATA_KEY
    from qss.model.errors import KeyRingError
    from qss.model.identifiers import parse_qks_id

    if key_file is not None or systemd_credential is not None:
        passphrase_file = _given_as_option(passphrase_file)
    given = [option for option in (passphrase_file, key_file, systemd_credential) if option is not None]
    if len(given) > 1:
        raise click.UsageError("give one of --passphrase-file, --key-file and --systemd-credential, not several")
    if make_key and key_file is None:
        raise click.UsageError("--make-key makes the file that --key-file names: give --key-file as well")

    if key_file is not None and not make_key and not key_file.exists():
        raise KeyRingError(f"there is no key file {key_file}; name the right one, or have it made with --make-key")

    folder = folder.absolute()
    name = parse_qks_id(site)
    with _key_file_made(key_file if make_key else None):
        keyring, master_key = _keyring(passphrase_file, key_file, systemd_credential)
        asyncio.run(initialise(folder, name, keyring))
    click.echo(
        f"Made {folder} for site {name}:\n"
        f"  {folder / LEDGER}  the store: ledger and sealed key\n"
        f"  {folder / DATA_KEY}  the data key, sealed under {master_key}\n"
        "\n"
        f"Back up {folder} with `qss backup` and, in another place, {master_key}.\n"
        "Without that master key nobody can open the store, and nobody can help.\n"
        f"Leave the anchor ({folder}.anchor by default) out of back-ups: it tells a restored store from the last one."
    )


def _given_as_option(passphrase_file: Path | None) -> Path | None:
    """Return the passphrase file unless it came from the environment, which an option of another kind overrules."""
    source = click.get_current_context().get_parameter_source("passphrase_file")
    return None if source is click.core.ParameterSource.ENVIRONMENT else passphrase_file


@contextlib.contextmanager
def _key_file_made(path: Path | None) -> Iterator[None]:
    """Make the key file, and take it away again if the data folder does not come about."""
    from qss.app.catalogue import make_master_key
    from qss.app.site_tables import KeyFileKeyRing

    if path is None:
        yield
        return
    make_master_key(KeyFileKeyRing(file=path))
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def _keyring(
    passphrase_file: Path | None, key_file: Path | None, systemd_credential: str | None
) -> tuple[KeyRing, str]:
    """Return the key ring, and what to call its master key."""
    from qss.app import site_tables as tables
    from qss.app.catalogue import keyring_of, passphrase_keyring

    if key_file is not None:
        return keyring_of(tables.KeyFileKeyRing(file=key_file)), f"the key file {key_file}"
    if systemd_credential is not None:
        table = tables.SystemdKeyRing(credential=systemd_credential)
        return keyring_of(table), f"the systemd credential {systemd_credential}"
    if passphrase_file is not None:
        return keyring_of(tables.PassphraseKeyRing(file=passphrase_file)), f"the passphrase in {passphrase_file}"
    return passphrase_keyring(_ask_passphrase()), "your passphrase"


def _ask_passphrase() -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to ask a passphrase at: give --passphrase-file, --key-file or --systemd-credential"
        )
    answer: str = click.prompt(
        "Passphrase (12 characters or more)", hide_input=True, confirmation_prompt=True, err=True
    )
    return answer
