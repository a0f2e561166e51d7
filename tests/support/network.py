"""A network of real nodes for tests: the demo's kind of files and processes, applications that ask with curl, and a
look from outside at what came of it.

`RunningNetwork.keys` remembers every key that anybody was given. When a network ends, its logs must hold none of them,
and no traceback, and its audit logs must be whole.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from qss.app.audit.verification import verify
from qss.cli.demo.network import HOMES, A, B, C, Network
from qss.cli.demo.nodes import Name, NodeFailed, Nodes
from qss.model.identifiers import QksId, SaeId
from qss.pki.folder import Pair
from support.gaps import gap

SITES = (A, B, C)
LINKS = ((A, B), (B, C))
"""The network of most tests, a row: the demo's ring without D."""

ALICE, BOB, BELLA, CAROL, CHRIS = HOMES

SLASHED = SaeId("sae:lab/bob")
"""In the network that the tests share: at home in B; its ID stands in a path only if it is percent-encoded."""

UNKNOWN = SaeId("sae:nobody")
"""Alice may share keys with it, and no site knows it."""

HASTY_S = 1.0
"""How long site C of that network lets a request take."""

STATUSES_OF_014 = {200, 400, 401, 503}
PATIENCE_S = 30.0
WINDOW_BYTES = 8

_FINAL_COUNTS = ("reserved", "delivered", "relayed", "burned")


@dataclass(frozen=True)
class Answer:
    """What curl got: status 0 where no answer came."""

    status: int
    body: bytes
    complaint: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        message = self.json["message"]
        assert isinstance(message, str)
        return message

    @property
    def keys(self) -> dict[str, bytes]:
        """The keys of a Key container, by their IDs."""
        assert self.status == 200, (self.status, self.body if self.status != 200 else "", self.complaint)
        return {entry["key_ID"]: base64.b64decode(entry["key"], validate=True) for entry in self.json["keys"]}

    def must_conform(self) -> None:
        """Fail unless the answer has a form that ETSI GS QKD 014 knows."""
        assert self.status in STATUSES_OF_014, (self.status, self.complaint)
        if self.status == 401:
            assert self.body == b""
        elif self.status != 200:
            assert self.message
            assert set(self.json) <= {"message", "details"}
        assert not traces_in(self.body)


class RunningNetwork:
    """Nodes that run, and the applications that ask them."""

    def __init__(self, network: Network, nodes: Nodes, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self.network = network
        self.nodes = nodes
        self.keys: dict[str, bytes] = {}
        self._run = run

    # --- processes ------------------------------------------------------------------------------------------------

    def start(self, *names: Name) -> None:
        for name in names:
            self._run(self.nodes.start(name))

    def kill(self, *names: Name) -> None:
        """End nodes or modules as a power failure would."""
        for name in names:
            self._run(self.nodes.kill(name))

    def stop(self, site: QksId) -> int:
        """Ask a node to end, and return its exit status."""
        status = self._run(self.nodes.stop(site))
        assert isinstance(status, int)
        return status

    def until_ended(self, site: QksId) -> str:
        """Wait until a node has ended by itself, and return why, as its log says."""
        self._until(lambda: self._has_ended(site), f"end of {site}", watch=False)
        assert self.stop(site) == 1
        last = self.events(site)[-1]
        assert last["event"] == "the node cannot go on"
        return str(last["reason"])

    def _has_ended(self, site: QksId) -> bool:
        try:
            self.nodes.check()
        except NodeFailed as error:
            return str(error).startswith(f"{site} ended ")
        return False

    def events(self, name: Name) -> list[dict[str, Any]]:
        """The log of a node or module."""
        return [json.loads(line) for line in self.nodes.log(name).read_text(encoding="utf-8").splitlines()]

    # --- applications ---------------------------------------------------------------------------------------------

    def curl(self, sae: SaeId | Pair, path: str, *options: str | Path, site: QksId | None = None) -> Answer:
        """Ask the SAE's own site, or `site`. Every answer must have a form of the standard."""
        pair = sae if isinstance(sae, Pair) else self.network.pki.sae(sae)
        home = site or self.network.homes[sae] if not isinstance(sae, Pair) else site
        assert home is not None
        answer = curl(
            f"{self.network.url(home)}{path}",
            *as_pair(pair),
            "--cacert",
            self.network.pki.authority.certificate,
            *options,
        )
        if answer.status:
            answer.must_conform()
            assert bytes(self.network.folder) not in answer.body, "an answer names a file of the site"
        if answer.status == 200 and b'"keys"' in answer.body:
            self.note(answer.keys)
        return answer

    @contextmanager
    def raw(self, sae: SaeId) -> Iterator[ssl.SSLSocket]:
        """Open a TLS connection to the SAE's site, to write whatever to."""
        pair = self.network.pki.sae(sae)
        context = ssl.create_default_context(cafile=self.network.pki.authority.certificate)
        context.load_cert_chain(pair.certificate, pair.key)
        address = ("127.0.0.1", self.network.ports[self.network.homes[sae]].northbound)
        with (
            socket.create_connection(address, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            yield secured

    def get(self, master: SaeId, slave: SaeId, number: int = 1, size: int = 256) -> dict[str, bytes]:
        """Get keys, and expect to; ask again, as the answer says, while a site has just started and knows no homes."""
        end = time.monotonic() + PATIENCE_S
        while True:
            answer = self.curl(master, f"/api/v1/keys/{slave}/enc_keys?number={number}&size={size}")
            too_early = answer.status == 503 and b" is at home" in answer.body
            if not too_early or time.monotonic() > end:
                return answer.keys
            time.sleep(0.2)

    def take(self, slave: SaeId, master: SaeId, key_ids: Iterable[str]) -> Answer:
        """Ask for keys by their IDs."""
        body = json.dumps({"key_IDs": [{"key_ID": key_id} for key_id in key_ids]})
        return self.curl(slave, f"/api/v1/keys/{master}/dec_keys", "--json", body)

    def note(self, keys: dict[str, bytes]) -> None:
        """Remember keys; one ID may stand for one key only."""
        for key_id, key in keys.items():
            assert self.keys.setdefault(key_id, key) == key, f"{key_id} stands for two keys"

    # --- a look from outside --------------------------------------------------------------------------------------

    def admin(self, site: QksId, path: str, pair: Pair | None = None) -> tuple[int, bytes]:
        """Ask Admin over a fresh connection."""
        context = ssl.create_default_context(cafile=self.network.pki.authority.certificate)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        connection = HTTPSConnection("localhost", self.network.ports[site].admin, context=context, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self, site: QksId) -> Any:
        """What Admin tells the site itself."""
        status, body = self.admin(site, "/status", self.network.pki.site(site))
        assert status == 200
        return json.loads(body)

    def streams(self, site: QksId, peer: QksId) -> list[dict[str, Any]]:
        """The streams of one end of a link, each of them balanced."""
        (link,) = (link for link in self.status(site)["links"] if link["peer"] == peer)
        for stream in link["streams"]:
            assert stream["ingested"] == stream["available"] + sum(stream[count] for count in _FINAL_COUNTS), stream
            assert min(stream[count] for count in ("ingested", "available", *_FINAL_COUNTS)) >= 0
        streams = link["streams"]
        assert isinstance(streams, list)
        return streams

    def spent(self, *sites: QksId) -> dict[str, Any]:
        """What is no longer available, and why, at these sites; the same again means that nothing was consumed."""
        return {
            f"{site}-{link['peer']}-{stream['stream']}": [stream[count] for count in _FINAL_COUNTS]
            for site in sites or self.network.sites
            for link in self.status(site)["links"]
            for stream in link["streams"]
        }

    def settled(self, *sites: QksId) -> dict[str, Any]:
        """Return `spent` once what is under way has ended."""
        before = self.spent(*sites)
        while True:
            time.sleep(0.5)
            after = self.spent(*sites)
            if after == before:
                return after
            before = after

    def until_keys(self, *pairs: tuple[SaeId, SaeId], count: int = 1000) -> None:
        """Wait until each pair has so many keys of the default size at hand."""
        self._until(lambda: all(self._key_count(*pair) >= count for pair in pairs), f"{count} keys each for {pairs}")

    def until_ready(self, *sites: QksId) -> None:
        """Wait until these sites take requests."""
        self._until(lambda: all(self._ready(site) for site in sites), f"sites {sites} ready")

    def pair(self, site: QksId, peer: QksId) -> dict[str, Any]:
        """The device pair of a link that has one, at one end."""
        (link,) = (link for link in self.status(site)["links"] if link["peer"] == peer)
        (pair,) = link["pairs"]
        assert isinstance(pair, dict)
        return pair

    def until(self, so: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        self._until(so, what)

    def _key_count(self, master: SaeId, slave: SaeId) -> int:
        answer = self.curl(master, f"/api/v1/keys/{slave}/status")
        return int(answer.json["stored_key_count"]) if answer.status == 200 else 0

    def _ready(self, site: QksId) -> bool:
        try:
            return self.admin(site, "/readyz")[0] == 200
        except OSError:
            return False

    def _until(self, so: Callable[[], bool], what: str, *, watch: bool = True) -> None:
        end = time.monotonic() + PATIENCE_S
        while not so():
            if watch:
                self.nodes.check()
            assert time.monotonic() < end, f"no {what} within {PATIENCE_S} s"
            time.sleep(0.05)


@contextmanager
def running_network(
    folder: Path,
    sites: Sequence[QksId] = (),
    edit: Callable[[QksId, str], str] = lambda _, toml: toml,
    prepare: Callable[[Network], None] = lambda _: None,
    *,
    split: Collection[QksId] = (),
    links: tuple[tuple[QksId, QksId], ...] = LINKS,
    homes: Mapping[SaeId, QksId] = HOMES,
) -> Iterator[RunningNetwork]:
    """Run the row of three or another network, of which only `sites`, with each site's file as `edit` leaves it.

    Modules of the sites in `split` are processes of their own.
    """
    with _event_loop() as run:
        network = Network(folder, bool(split), links, homes)
        sites = sites or network.sites
        run(network.build(lambda _: None))
        prepare(network)
        for site in network.sites:
            path = network.configuration(site)
            path.write_text(edit(site, path.read_text(encoding="utf-8")), encoding="utf-8")
        nodes = Nodes(network)
        running = RunningNetwork(network, nodes, run)
        try:
            running.start(*sites, *(module.name for module in network.modules if module.site in split))
            running.until_ready(*sites)
            yield running
        finally:
            run(nodes.stop_all())
    for log in (*folder.glob("*.log"), *folder.glob("*.data/audit/*.jsonl")):
        found = traces_in(log.read_bytes(), running.keys.values())
        assert not found, f"{log} holds {found}"
    for audit in folder.glob("*.data/audit"):
        verify(audit.parent, network.pki.authority.certificate)


@contextmanager
def _event_loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run an event loop beside the test, which is free to block; nodes outlive one test and so one test's loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="nodes")
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def curl(url: str, *options: str | Path) -> Answer:
    """Run curl, as a reader of the standard would."""
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--path-as-is", "--write-out", "\n%{http_code}"]
    try:
        ran = subprocess.run([*command, *options, url], capture_output=True, check=False)
    except FileNotFoundError:
        gap("there is no curl", "install curl 7.82 or newer")
    body, _, status = ran.stdout.rpartition(b"\n")
    return Answer(int(status), body, ran.stderr.decode())


def rest_of(connection: ssl.SSLSocket) -> bytes:
    """Read until the other end closes."""
    answer = b""
    with suppress(OSError):  # the end was abrupt: what came before is the answer
        while piece := connection.recv(65_536):
            answer += piece
    return answer


def qss(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator does."""
    command = [sys.executable, "-m", "qss.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


def as_pair(pair: Pair) -> list[str | Path]:
    """The options with which curl shows a certificate."""
    return ["--cert", pair.certificate, "--key", pair.key]


# --- what must stand in no log and no answer ----------------------------------------------------------------------


def traces_in(text: bytes, keys: Iterable[bytes] = ()) -> list[str]:
    """Return what of tracebacks and keys stands in `text`. A piece of a key is enough."""
    found = ["a traceback"] if re.search(rb'Traceback \(most|File "[^"]*", line \d|\.py", line \d', text) else []
    lower = text.lower()
    for key in keys:
        for form, spelled in _spellings(key).items():
            if spelled in (lower if form == "hex" else text):
                found.append(f"a key as {form}")
    return found


def _spellings(key: bytes) -> dict[str, bytes]:
    piece = key[:24]  # whole groups of base64
    return {
        "base64": base64.b64encode(piece),
        "URL-safe base64": base64.urlsafe_b64encode(piece),
        "hex": piece.hex().encode(),
        "bytes": piece,
        "Python's spelling": repr(piece)[2:-1].encode(),
        "escaped spelling": json.dumps(repr(piece)[2:-1])[1:-1].encode(),
    }


def repeated_bytes(keys: dict[str, bytes]) -> list[tuple[str, str]]:
    """Return pairs of key IDs whose keys share `WINDOW_BYTES` bytes in a row, whatever their offsets."""
    owner: dict[bytes, str] = {}
    repeated = []
    for key_id, key in keys.items():
        for at in range(len(key) - WINDOW_BYTES + 1):
            other = owner.setdefault(key[at : at + WINDOW_BYTES], key_id)
            if other != key_id:
                repeated.append((other, key_id))
    return repeated
