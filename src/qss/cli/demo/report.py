"""What the demo shows: progress on stderr, results on stdout as tables or JSON, and commands to try."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from qss.cli.demo.exchanges import ALICE, BOB, Results
from qss.cli.demo.network import HOMES, SITES, Network
from qss.model.identifiers import SaeId
from qss.wire.routes import RouteView


def as_json(results: Results, routes: Sequence[RouteView]) -> str:
    """Return the results, and the first site's routes, as one JSON object.

    `bits` is the size of each key, `ms` the time of the master's request.
    """
    return json.dumps(
        {
            "ok": results.ok,
            "deliveries": [
                {
                    "what": one.ask.what,
                    "from": HOMES[one.ask.master],
                    "to": HOMES[one.ask.slaves[0]],
                    "over": one.ask.over,
                    "master": one.ask.master,
                    "slaves": one.ask.slaves,
                    "keys": one.ask.keys,
                    "bits": one.ask.bits,
                    "ms": round(one.ms, 3),
                    "take_ms": round(one.take_ms, 3),
                    "match": one.match,
                }
                for one in results.deliveries
            ],
            "refusals": [
                {"what": one.what, "expected": one.expected, "status": one.status, "message": one.message}
                for one in results.refusals
            ],
            "routes": to_builtins(routes),
        },
        indent=2,
    )


def show(results: Results, routes: Sequence[RouteView], console: Console) -> None:
    """Print the results, and what the first site knows of the network, as tables."""
    verdict = "each delivery the same at both ends, each refusal as it should be"
    if not results.ok:
        verdict = "[red]not all went as it should[/red]"
    console.print(_delivered(results), "", _refused(results), "", _known(routes), "", verdict, sep="\n")


def _delivered(results: Results) -> Table:
    table = _table("delivered", "from", "to", "over")
    for heading in ("keys", "bits", "get, ms", "take, ms"):
        table.add_column(heading, justify="right")
    table.add_column("match")
    for one in results.deliveries:
        table.add_row(
            one.ask.what,
            _party(one.ask.master),
            _party(*one.ask.slaves),
            one.ask.over,
            str(one.ask.keys),
            str(one.ask.bits),
            f"{one.ms:.1f}",
            f"{one.take_ms:.1f}",
            "yes" if one.match else "[red]NO[/red]",
        )
    return table


def _refused(results: Results) -> Table:
    table = _table("refused", "status")
    for refusal in results.refusals:
        status = str(refusal.status) if refusal.status == refusal.expected else f"[red]{refusal.status}[/red]"
        table.add_row(refusal.what, status)
    return table


def _known(routes: Sequence[RouteView]) -> Table:
    table = _table(f"known at {SITES[0]}", "home", "by way of")
    for heading in ("links", "cost"):
        table.add_column(heading, justify="right")
    for route in routes:
        table.add_row(route.SAE_ID, route.dest, route.next_hop, str(route.length), str(route.cost))
    return table


def _table(*headings: str) -> Table:
    return Table(*headings, box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="underline")


def commands_to_try(network: Network) -> str:
    """Return commands that play both parts of one exchange with curl."""
    return "\n".join(
        [
            "# Try it in another terminal:",
            f"cd {shlex.quote(str(network.folder))}",
            "",
            "# How many keys can Alice, at site A, share with Bob, at site B?",
            _curl(network, ALICE, f"/api/v1/keys/{BOB}/status"),
            "",
            "# Alice asks for two keys:",
            _curl(network, ALICE, f"/api/v1/keys/{BOB}/enc_keys", "--json", '{"number": 2, "size": 128}'),
            "",
            "# Bob takes one of them; put a key_ID of Alice's answer in the place of KEY_ID:",
            _curl(network, BOB, f"/api/v1/keys/{ALICE}/dec_keys?key_ID=KEY_ID"),
        ]
    )


def _curl(network: Network, sae: SaeId, path: str, *options: str) -> str:
    pair, authority = network.pki.sae(sae), network.pki.authority
    files = [str(path.relative_to(network.folder)) for path in (authority.certificate, pair.certificate, pair.key)]
    words = ["curl", "--cacert", files[0], "--cert", files[1], "--key", files[2], *options]
    return shlex.join([*words, network.url(HOMES[sae]) + path])


def _party(*saes: SaeId) -> str:
    return f"{', '.join(sae.removeprefix('sae:') for sae in saes)} ({HOMES[saes[0]]})"
