"""`qss key`: asks a key server for keys as an application does. It prints keys: that is what it is for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import click

from qss.cli.asking import ADMIN, KEY_SERVER, STREAM_SERVER, Asked, Decorator, asking

if TYPE_CHECKING:
    from qss.model.keys import Key

_named: Decorator = click.option(
    "--name", metavar="NAME", help="An idempotency name: a repeat under it gets the same keys for a while."
)


@click.group("key")
def command() -> None:
    """Ask a key server for keys (ETSI GS QKD 014 and 004). Keys are printed: mind who can see the terminal."""


@command.command("get")
@click.argument("slave", metavar="SLAVE")
@click.option("--number", type=click.IntRange(min=1), default=1, show_default=True, help="How many keys.")
@click.option("--size", type=click.IntRange(min=1), help="Bits of each key; the server's default if not given.")
@click.option("--also", metavar="SAE", multiple=True, help="Another SAE that can take the same keys; can be repeated.")
@click.option(
    "--demand",
    "demands",
    metavar="NAME=VALUE",
    multiple=True,
    help="What the keys must be like, such as disjoint_paths=2, hybrid=ml-kem-768 or avoid=B,C; can be repeated.",
)
@_named
@asking(KEY_SERVER)
def get(
    asked: Asked,
    slave: str,
    number: int,
    size: int | None,
    also: tuple[str, ...],
    demands: tuple[str, ...],
    name: str | None,
) -> None:
    """Get fresh keys to share with the SAE SLAVE: each key's ID and the key in base64, a line each."""
    mandatory = tuple(map(_extension, demands))
    with asked.key_server() as client:
        _print_keys(client.get_keys(slave, number, size, also, mandatory, name=name), as_json=asked.as_json)


def _extension(demand: str) -> tuple[str, object]:
    """Return the extension of a request that demands this; what its value can be, the key server judges."""
    name, is_one, value = demand.partition("=")
    if not (name and is_one):
        raise click.UsageError(f"--demand {demand}: say NAME=VALUE, such as --demand disjoint_paths=2")
    if name == "avoid":
        return f"qss_{name}", value.split(",")
    plain: dict[str, object] = {"true": True, "false": False}
    return f"qss_{name}", int(value) if value.isdecimal() else plain.get(value, value)


@command.command("take")
@click.argument("master", metavar="MASTER")
@click.argument("key_ids", metavar="KEY_ID...", nargs=-1, required=True)
@_named
@asking(KEY_SERVER)
def take(asked: Asked, master: str, key_ids: tuple[str, ...], name: str | None) -> None:
    """Take the keys that the SAE MASTER got under KEY_ID..., as a slave of them. Each can be taken once."""
    from qss.model.identifiers import KeyId

    wanted = [KeyId.parse(text) for text in key_ids]
    with asked.key_server() as client:
        _print_keys(client.get_keys_with_ids(master, wanted, name), as_json=asked.as_json)


@command.command("status")
@click.argument("slave", metavar="SLAVE")
@asking(KEY_SERVER)
def status(asked: Asked, slave: str) -> None:
    """Tell how many keys can be had now to share with the SAE SLAVE, and of what sizes."""
    from qss.wire.etsi014.answers import render_status

    with asked.key_server() as client:
        answer = client.status(slave)
    if asked.as_json:
        click.echo(render_status(answer))
        return
    limits = answer.limits
    click.echo(
        f"{answer.master} at {answer.source_kme}, with {answer.slave} at {answer.target_kme}\n"
        f"keys at hand: {answer.stored_key_count} of at most {answer.max_key_count}, {limits.key_size} bits each\n"
        f"in one request: up to {limits.max_key_per_request} keys, each of {limits.min_key_size} to "
        f"{limits.max_key_size} bits, and up to {limits.max_sae_id_count} additional slaves"
    )


@command.command("void")
@click.option("--id", "key_ids", metavar="KEY_ID", multiple=True, help="A key by its ID; can be repeated.")
@click.option("--sae", metavar="SAE", help="All keys that this SAE has a part in, as master or slave.")
@click.option("--link", "peer", metavar="QKS_ID", help="All keys of the link to this neighbour.")
@asking(ADMIN)
def void(asked: Asked, key_ids: tuple[str, ...], sae: str | None, peer: str | None) -> None:
    """Recall keys that were not fetched yet: they are burned at all sites that hold them.

    The certificate is that of the site or of an administrator.
    """
    from qss.model.identifiers import KeyId, parse_qks_id, parse_sae_id
    from qss.model.records import Scope
    from qss.wire.recall import render_recalled

    if sum(map(bool, (key_ids, sae, peer))) != 1:
        raise click.UsageError("say what to recall: --id KEY_ID (one or more), --sae SAE, or --link QKS_ID")
    scope = Scope(tuple(map(KeyId.parse, key_ids)), None if sae is None else parse_sae_id(sae))
    link = None if peer is None else parse_qks_id(peer)

    bits = asked.ask_admin(lambda client: client.recall(scope, link))
    if asked.as_json:
        click.echo(render_recalled({parse_qks_id(name): burned for name, burned in bits.items()}))
        return
    for name, burned in sorted(bits.items()):
        here = f"{burned} bits burned here" if burned else "no key was waiting here, and none was burned"
        click.echo(f"link to {name}: {here}; what waits at {name} is burned by {name}, as soon as it is connected")


@command.command("stream")
@click.argument("own", metavar="OWN")
@click.argument("other", metavar="OTHER")
@click.option("--stream", "name", type=click.UUID, help="The stream's name; a new one if not given.")
@click.option("--number", type=click.IntRange(min=1), default=1, show_default=True, help="How many chunks.")
@click.option("--size", type=click.IntRange(min=1), help="Bytes of each chunk; what the other end has if not given.")
@click.option("--wait", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds for each chunk.")
@asking(STREAM_SERVER)
def stream(asked: Asked, own: str, other: str, name: UUID | None, number: int, size: int | None, wait: float) -> None:
    """Get chunks of a key stream (ETSI GS QKD 004) that the SAE OWN shares with OTHER, who has it opened as well.

    The stream's name is told on stderr, for the other end; each chunk's index and key in base64 are a line each.
    """
    import asyncio

    from qss.client import KeyStreamClient
    from qss.model.identifiers import StreamId
    from qss.wire.etsi014.answers import base64_of

    async def chunks() -> None:
        address = asked.url.removeprefix("https://").rstrip("/")
        async with KeyStreamClient(address, asked.cert, asked.key, asked.ca, own, other, patience_s=wait) as client:
            opened = await client.open(None if name is None else StreamId(name.bytes), size or 0)
            click.echo(f"key stream {opened}", err=True)
            for _ in range(number):
                chunk = await client.chunk()
                key = base64_of(chunk.key)
                if asked.as_json:
                    told = {"index": chunk.index, "key": key, "age": chunk.age_ms, "hops": chunk.hops}
                    click.echo(json.dumps(told))
                else:
                    click.echo(f"{chunk.index} {key}")

    asyncio.run(chunks())


def _print_keys(keys: tuple[Key, ...], *, as_json: bool) -> None:
    from qss.wire.etsi014.answers import base64_of, render_keys

    if as_json:
        click.echo(render_keys(keys))
        return
    for one in keys:
        click.echo(f"{one.key_id} {base64_of(one.material)}")
