"""`qss pki`: a small certificate authority for people who have none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from qss.cli.printable import printable
from qss.model.certificates import is_module_uri, is_site_uri
from qss.model.errors import PkiError
from qss.model.identifiers import parse_qkdm_id, parse_qks_id, parse_sae_id
from qss.pki.authority import AUTHORITY_DAYS, CERTIFICATE_DAYS, MAX_DAYS
from qss.pki.contexts import read_certificates
from qss.pki.folder import HOME_SUFFIX, Pair, PkiFolder
from qss.pki.keys import describe

_FILE = click.Path(path_type=Path)

type _Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _folder_option(flag: str) -> _Decorator:
    return click.option(flag, "folder", type=_FILE, default=Path("pki"), show_default=True, help="Authority's folder.")


def _days_option(default: int) -> _Decorator:
    return click.option(
        "--days",
        type=click.IntRange(1, MAX_DAYS),
        default=default,
        show_default=True,
        help="Days until it expires.",
    )


def _hosts_option() -> _Decorator:
    return click.option(
        "--host",
        "hosts",
        multiple=True,
        help="DNS name or IP address of the site or module; can be given several times.",
    )


@click.group()
def command() -> None:
    """Make and sign certificates of sites, QKD modules and applications.

    Keys are written with mode 0600, and nothing is ever overwritten.
    """


@command.command()
@_folder_option("--out")
@click.option("--name", default="qss network authority", show_default=True, help="The authority's common name.")
@_days_option(AUTHORITY_DAYS)
def ca(folder: Path, name: str, days: int) -> None:
    """Make the network's certificate authority."""
    _tell_pair(PkiFolder(folder).create(name, days))


@command.command()
@click.argument("qks_id")
@_folder_option("--pki")
@_hosts_option()
@_days_option(CERTIFICATE_DAYS)
def site(qks_id: str, folder: Path, hosts: tuple[str, ...], days: int) -> None:
    """Make the key and certificate of the site QKS_ID."""
    _require_hosts(hosts)
    _tell_pair(PkiFolder(folder).issue_site(parse_qks_id(qks_id), hosts, days))


@command.command()
@click.argument("module_name")
@_folder_option("--pki")
@_hosts_option()
@_days_option(CERTIFICATE_DAYS)
def module(module_name: str, folder: Path, hosts: tuple[str, ...], days: int) -> None:
    """Make the key and certificate of the QKD module MODULE_NAME, such as A/1: module 1 of site A."""
    _require_hosts(hosts)
    _tell_pair(PkiFolder(folder).issue_module(parse_qkdm_id(module_name), hosts, days))


@command.command()
@click.argument("sae_id")
@_folder_option("--pki")
@_days_option(CERTIFICATE_DAYS)
def sae(sae_id: str, folder: Path, days: int) -> None:
    """Make the key and certificate of the application SAE_ID, a URI such as sae:alice."""
    _tell_pair(PkiFolder(folder).issue_sae(parse_sae_id(sae_id), days))


@command.command()
@click.argument("sae_id")
@click.argument("qks_id")
@_folder_option("--pki")
@_days_option(CERTIFICATE_DAYS)
def home(sae_id: str, qks_id: str, folder: Path, days: int) -> None:
    """State that the application SAE_ID is at home at the site QKS_ID.

    That site shows the statement to all others, which then serve the application without having it configured.
    """
    from qss.app.homes import state_home

    pki, sae, site = PkiFolder(folder), parse_sae_id(sae_id), parse_qks_id(qks_id)
    _tell(state_home(pki, sae, site, days))
    for what, pair in ((f"application {sae}", pki.sae(sae)), (f"site {site}", pki.site(site))):
        if not pair.certificate.exists():
            click.echo(f"note: {folder} has no certificate of the {what}: is that its name?", err=True)


@command.command()
@click.argument("request_file", metavar="REQUEST", type=_FILE)
@_folder_option("--pki")
@click.option("--sae", "sae_id", help="Sign as the application of this SAE ID.")
@click.option("--site", "qks_id", help="Sign as the site of this QKS ID.")
@click.option("--module", "module_name", help="Sign as the QKD module of this name, such as A/1.")
@_hosts_option()
@_days_option(CERTIFICATE_DAYS)
def sign(
    request_file: Path,
    folder: Path,
    sae_id: str | None,
    qks_id: str | None,
    module_name: str | None,
    hosts: tuple[str, ...],
    days: int,
) -> None:
    """Sign a certificate request (PKCS#10, PEM) that was made elsewhere.

    Only the public key is taken from REQUEST; the names are those given here.
    """
    pki = PkiFolder(folder)
    match sae_id, qks_id, module_name:
        case str(), None, None:
            if hosts:
                raise click.UsageError("--host belongs to a site or module: an application is not called by anybody")
            _tell(pki.sign_sae(request_file, parse_sae_id(sae_id), days))
        case None, str(), None:
            _require_hosts(hosts)
            _tell(pki.sign_site(request_file, parse_qks_id(qks_id), hosts, days))
        case None, None, str():
            _require_hosts(hosts)
            _tell(pki.sign_module(request_file, parse_qkdm_id(module_name), hosts, days))
        case _:
            raise click.UsageError("give one of --sae SAE_ID, --site QKS_ID and --module NAME")


@command.command()
@click.argument("files", metavar="CERTIFICATE...", type=_FILE, nargs=-1, required=True)
def show(files: tuple[Path, ...]) -> None:
    """Show what certificates, and statements of homes, say."""
    for path in files:
        if path.suffix == HOME_SUFFIX:
            _show_statement(path)
            continue
        for certificate in read_certificates(path):
            try:
                lines = _describe(certificate)
            except (ValueError, UnsupportedAlgorithm) as error:
                raise PkiError(f"{path}: what the certificate says cannot be read; it is damaged") from error
            click.echo(f"{path}:")
            for label, text in lines:
                click.echo(f"  {label:<12} {printable(text)}")


def _show_statement(path: Path) -> None:
    from qss.app.homes import read_statement
    from qss.wire.home_statement import decode_statement

    signed, home = decode_statement(read_statement(path))
    end = datetime.fromtimestamp(home.expires, UTC)
    click.echo(f"{path}:")
    for label, text in (
        ("is", "a statement of an application's home; whose it is was not looked at"),
        ("application", home.sae),
        ("at home at", home.site),
        ("signed by", signed.algorithm),
        ("until", f"{end:%Y-%m-%d %H:%M} UTC{_expired(end)}"),
    ):
        click.echo(f"  {label:<12} {text}")


def _require_hosts(hosts: tuple[str, ...]) -> None:
    if not hosts:
        raise click.UsageError("give the names that it is called by, such as --host qks-a.example.org")


def _tell_pair(pair: Pair) -> None:
    _tell(pair.certificate)
    click.echo(f"wrote {pair.key} (private: mode 0600)")


def _tell(certificate: Path) -> None:
    click.echo(f"wrote {certificate}")


def _describe(certificate: x509.Certificate) -> list[tuple[str, str]]:
    uris, hosts = _alternative_names(certificate)
    end = certificate.not_valid_after_utc
    return [
        ("is", _kind(certificate, uris)),
        ("subject", _text(certificate.subject)),
        ("names", ", ".join(uris + hosts) or "none"),
        ("issuer", _text(certificate.issuer)),
        ("key", describe(certificate.public_key())),
        ("valid", f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC{_expired(end)}"),
        ("serial", f"{certificate.serial_number:x}"),
        ("SHA-256", certificate.fingerprint(SHA256()).hex(":")),
    ]


def _kind(certificate: x509.Certificate, uris: list[str]) -> str:
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "an authority"
    except x509.ExtensionNotFound:
        pass
    if any(is_site_uri(uri) for uri in uris):
        return "a site"
    return "a QKD module" if any(is_module_uri(uri) for uri in uris) else "an application"


def _alternative_names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return the URIs, and the DNS names and addresses."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return names.get_values_for_type(x509.UniformResourceIdentifier), [
        *names.get_values_for_type(x509.DNSName),
        *addresses,
    ]


def _text(name: x509.Name) -> str:
    return ", ".join(str(part.value) for part in name.get_attributes_for_oid(NameOID.COMMON_NAME)) or (
        name.rfc4514_string() or "none"
    )


def _expired(end: datetime) -> str:
    return " (expired)" if datetime.now(UTC) > end else ""
