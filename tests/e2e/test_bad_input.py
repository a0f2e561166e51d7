"""What a caller can get wrong, over the real door: a clear error each, and nothing is consumed."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from qss.cli.demo.network import STRANGER
from support.network import (
    ALICE,
    BELLA,
    BOB,
    CAROL,
    CHRIS,
    HASTY_S,
    SLASHED,
    UNKNOWN,
    A,
    Answer,
    B,
    C,
    RunningNetwork,
    as_pair,
    curl,
    rest_of,
    traces_in,
)
from support.pki import Pki

NOT_FOUND = "one or more keys specified are not found on KME"
ENC = f"/api/v1/keys/{BOB}/enc_keys"
DEC = f"/api/v1/keys/{ALICE}/dec_keys"
GIGABYTE = 1 << 30
PIECE = bytes(65_536)


@pytest.fixture(scope="module")
def held(network: RunningNetwork) -> Iterator[dict[str, bytes]]:
    """Keys that Alice got, and that Bob can still take when everything has been tried."""
    keys = network.get(ALICE, BOB, 3)
    yield keys
    assert network.take(BOB, ALICE, keys).keys == keys


@pytest.fixture(scope="module")
def begin(network: RunningNetwork, held: dict[str, bytes]) -> dict[str, object]:
    return network.settled()


@pytest.fixture(autouse=True)
def nothing_is_consumed(network: RunningNetwork, begin: dict[str, object]) -> Iterator[None]:
    yield
    assert network.spent() == begin


def refused(answer: Answer, status: int, message: str) -> None:
    assert answer.status == status, (answer.status, answer.complaint)
    if status != 401:
        assert re.search(message, answer.message), answer.message


# --- requests -----------------------------------------------------------------------------------------------------

INTEGER = "integer from 1"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('"number"', "object"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "JSON"),
        ("[" * 10_000, "."),
        ('{"number": "2"}', "number"),
        ('{"number": null}', "number"),
        ('{"number": 1.5}', "number"),
        ('{"number": true}', "number"),
        ('{"number": 0}', INTEGER),
        ('{"number": -1}', INTEGER),
        ('{"number": 1e400}', "."),
        (f'{{"number": 1{"0" * 5000}}}', "."),
        ('{"number": 9223372036854775808}', "number"),
        ('{"number": 129}', "at most 128"),
        ('{"size": -256}', INTEGER),
        ('{"size": 0}', INTEGER),
        ('{"size": 18446744073709551616}', "size"),
        ('{"size": 257}', "^size shall be a multiple of 8$"),
        ('{"size": 56}', "64 to 8192"),
        ('{"size": 8200}', "64 to 8192"),
        ('{"size": [256]}', "size"),
        ('{"additional_slave_SAE_IDs": "sae:bella"}', "additional_slave_SAE_IDs"),
        ('{"additional_slave_SAE_IDs": []}', "empty"),
        ('{"additional_slave_SAE_IDs": [" "]}', "SAE ID"),
        (f'{{"additional_slave_SAE_IDs": ["{BELLA}", "{BELLA}"]}}', "twice"),
        (f'{{"additional_slave_SAE_IDs": ["{BOB}"]}}', "slave in the path"),
        (f'{{"additional_slave_SAE_IDs": ["{ALICE}"]}}', "the caller"),
        (json.dumps({"additional_slave_SAE_IDs": [f"sae:{n}" for n in range(9)]}), "limit is 8"),
        ('{"extension_mandatory": {"abc": 1}}', "extension_mandatory"),
        ('{"extension_mandatory": [1]}', "extension_mandatory"),
    ],
)
def test_key_request_that_cannot_be_met(network: RunningNetwork, body: str, message: str) -> None:
    refused(network.curl(ALICE, ENC, "--json", body), 400, message)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("number=0", INTEGER),
        ("number=-3", INTEGER),
        ("number=abc01", INTEGER),
        ("number=", INTEGER),
        ("number=" + "9" * 4000, INTEGER),
        ("number=1&number=1", "once"),
        ("size=-8", INTEGER),
        ("size=1e3", INTEGER),
        ("size=255", "^size shall be a multiple of 8$"),
        ("size=%ff", "."),
        ("additional_slave_SAE_IDs=sae:bella", "POST"),
        ("&".join(f"x{n}=1" for n in range(100)), "at most"),
    ],
)
def test_query_that_cannot_be_met(network: RunningNetwork, query: str, message: str) -> None:
    refused(network.curl(ALICE, f"{ENC}?{query}"), 400, message)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/", ()),
        ("/api/v1/keys/enc_keys", ()),
        ("/api/v1/keys/%20/enc_keys", ()),
        ("/api/v1/keys/%ff/enc_keys", ()),
        (f"/api/v1/keys/{'x' * 256}/enc_keys", ()),
        (f"/api/v1/keys/{ALICE}/enc_keys", ()),
        (f"/api/v1/keys/{UNKNOWN}/enc_keys", ()),
        (f"/api/v1/keys/{UNKNOWN}/status", ()),
        (f"/api/v1/keys/{ALICE}/enc_keys?number=2", ()),
        (f"/api/v1/keys/../keys/{BOB}/enc_keys", ()),
        (ENC, ("--request", "DELETE")),
        (ENC, ("--request", "PUT", "--data", "{}")),
        (f"/api/v1/keys/{BOB}/status", ("--json", "{}")),
        (ENC, ("--header", f"X-Long: {'x' * 9000}")),
    ],
)
def test_path_or_verb_that_is_none(network: RunningNetwork, path: str, options: tuple[str, ...]) -> None:
    refused(network.curl(ALICE, path, *options), 400, ".")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "JSON"),
        ("{}", "key_IDs"),
        ('{"key_IDs": []}', "empty"),
        ('{"key_IDs": {}}', "key_IDs"),
        ('{"key_IDs": ["00000000-0000-8000-8000-000000000000"]}', "key_IDs"),
        ('{"key_IDs": [{"key_ID": 5}]}', "key_ID"),
        ('{"key_IDs": [{"key_ID": "no-uuid"}]}', "UUID"),
        ('{"key_IDs": [{"key_ID": "{00000000-0000-8000-8000-000000000000}"}]}', "UUID"),
        ('{"key_IDs": [{"key_ID": "00000000-0000-8000-8000-000000000000"}]}', f"^{NOT_FOUND}$"),
    ],
)
def test_key_ids_that_are_none(network: RunningNetwork, body: str, message: str) -> None:
    refused(network.curl(BOB, DEC, "--json", body), 400, message)


@pytest.mark.parametrize("query", ["", "key_ID=", "key_ID=x", "key_id=00000000-0000-8000-8000-000000000000"])
def test_key_id_query_that_is_none(network: RunningNetwork, query: str) -> None:
    refused(network.curl(BOB, f"{DEC}?{query}"), 400, "key_ID")


def test_more_key_ids_than_are_served(network: RunningNetwork) -> None:
    refused(network.take(BOB, ALICE, [str(uuid4()) for _ in range(129)]), 400, "at most 128")


def test_key_ids_that_belong_to_others(network: RunningNetwork, held: dict[str, bytes]) -> None:
    for slave in (BELLA, SLASHED):
        refused(network.curl(slave, f"{DEC}?key_ID={next(iter(held))}", site=B), 401, "")
    refused(network.take(BELLA, ALICE, [*held, str(uuid4())]), 401, "")
    refused(network.take(BOB, CAROL, held), 400, NOT_FOUND)
    refused(network.take(ALICE, BOB, held), 400, NOT_FOUND)
    refused(network.curl(ALICE, f"{DEC}?key_ID={next(iter(held))}"), 400, "caller's own")


def test_a_key_id_twice_in_one_request(network: RunningNetwork, held: dict[str, bytes]) -> None:
    first = next(iter(held))
    refused(network.take(BOB, ALICE, [first, first]), 400, NOT_FOUND)
    refused(network.take(BOB, ALICE, [first, first.upper()]), 400, NOT_FOUND)


def test_more_than_there_is(network: RunningNetwork) -> None:
    for path in (f"{ENC}?number=128&size=8192", f"/api/v1/keys/{BELLA}/enc_keys?number=128&size=8192"):
        refused(network.curl(ALICE, path), 503, "nothing was consumed")


# --- callers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("foreign"))


def test_a_caller_without_acceptable_certificate_gets_no_answer(network: RunningNetwork, foreign: Pki) -> None:
    url, authority = network.network.url(A) + ENC, network.network.pki.authority.certificate
    pairs = (foreign.sae(ALICE), made_by(network).expired_sae(ALICE), foreign.site("A"))
    refused_before = refused_handshakes(network)
    for options in ((), *(as_pair(pair) for pair in pairs)):
        answer = curl(url, "--cacert", authority, *options)
        assert (answer.status, answer.body) == (0, b""), answer.complaint
    assert refused_handshakes(network) == refused_before + 4


def refused_handshakes(network: RunningNetwork) -> int:
    return [event["event"] for event in network.events(A)].count("TLS handshake failed")


def made_by(network: RunningNetwork) -> Pki:
    """The network's own authority, as a maker of odd certificates."""
    pki = object.__new__(Pki)
    pki.folder = network.network.pki
    return pki


def test_a_caller_that_no_certificate_names(network: RunningNetwork) -> None:
    refused(network.curl(made_by(network).nameless(), ENC, site=A), 401, "")


def test_callers_that_are_not_at_home_here(network: RunningNetwork) -> None:
    refused(network.curl(STRANGER, ENC, site=A), 401, "")
    refused(network.curl(CHRIS, f"/api/v1/keys/{BOB}/enc_keys", site=B), 401, "")
    refused(network.curl(network.network.pki.site(B), ENC, site=A), 401, "")
    refused(network.curl(BOB, f"/api/v1/keys/{UNKNOWN}/enc_keys"), 401, "")


# --- large and slow bodies ----------------------------------------------------------------------------------------


def memory_kib(pid: int, field: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.parametrize(
    ("header", "piece"),
    [
        (f"Content-Length: {GIGABYTE}", PIECE),
        ("Transfer-Encoding: chunked", b"%x\r\n%s\r\n" % (len(PIECE), PIECE)),
    ],
    ids=["length", "chunked"],
)
def test_a_body_of_a_gigabyte(network: RunningNetwork, header: str, piece: bytes) -> None:
    pid = network.nodes.pid(A)
    before = memory_kib(pid, "VmRSS")
    most = before
    sent, answer = 0, b""
    with network.raw(ALICE) as connection:
        connection.sendall(f"POST {ENC} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
        try:
            while sent < GIGABYTE:
                connection.sendall(piece)
                sent += len(PIECE)
                most = max(most, memory_kib(pid, "VmRSS"))
                if not answer and select.select([connection], [], [], 0)[0]:
                    answer = connection.recv(65_536)
        except OSError:
            pass
        answer += rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"too large: at most 65536 bytes" in answer
    assert sent < GIGABYTE
    assert most < before + 32_768


def test_slow_requests_are_answered_in_time(network: RunningNetwork) -> None:
    path = f"/api/v1/keys/{BOB}/enc_keys"
    began = time.monotonic()
    with network.raw(CAROL) as body, network.raw(CAROL) as chunks:
        body.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        chunks.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n".encode())
        for connection in (body, chunks):
            answer = rest_of(connection)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"did not arrive within 1 s" in answer
    assert HASTY_S * 0.9 < time.monotonic() - began < HASTY_S + 5


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET " + b"/x" * 10_000 + b" HTTP/1.1\r\n\r\n",
        f"POST {ENC} HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{{}}".encode(),
        f"POST {ENC} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{{}}".encode(),
        f"POST {ENC} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n".encode(),
    ],
)
def test_what_is_no_http(network: RunningNetwork, text: bytes) -> None:
    with network.raw(ALICE) as connection:
        connection.sendall(text)
        answer = rest_of(connection)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)["message"]
    assert b"qss" in head
    assert not traces_in(answer)


def test_what_is_no_tls(network: RunningNetwork) -> None:
    with socket.create_connection(("127.0.0.1", network.network.ports[A].northbound), timeout=10) as connection:
        connection.sendall(f"GET {ENC} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert not connection.recv(1024).startswith(b"HTTP")


def test_no_log_holds_a_key_or_a_traceback(network: RunningNetwork, held: dict[str, bytes]) -> None:
    assert set(held) <= set(network.keys)
    for site in (A, B, C):
        assert network.events(site)
        assert traces_in(network.nodes.log(site).read_bytes(), network.keys.values()) == []
