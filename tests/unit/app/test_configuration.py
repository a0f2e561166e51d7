"""A site's configuration: what is accepted, and for each fault the key, what was found, and what is allowed."""

from __future__ import annotations

import contextlib
import copy
import re
import tomllib
from itertools import islice, permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.app.configuration import load, notes
from qss.app.node import _settings as link_settings
from qss.app.pair_demands import demand_of
from qss.app.site_tables import (
    Etsi004,
    Etsi014,
    KeyFileKeyRing,
    LinkModule,
    PassphraseKeyRing,
    SeededSimulator,
    Simulator,
    SystemdKeyRing,
)
from qss.app.tag_settings import tag_settings
from qss.core.keyserver.demands import NOTHING, Demand
from qss.core.routing import TagSetting
from qss.model.addresses import Address
from qss.model.errors import ConfigurationError
from qss.model.identifiers import PairId, QksId
from qss.model.keys import KeyLimits
from qss.model.relay_policy import Hop, Hybrid

SITE_UUID = "6f1c2f5e-9a52-4a0a-8f0f-1f4f0c6c7d01"
LINK_UUID = "0b0a6c0e-52c4-4f4f-9d80-6a8a3b1f2c02"
OTHER_UUID = "11111111-52c4-4f4f-9d80-6a8a3b1f2c03"
BASE = {
    "site": {"id": "A", "uuid": SITE_UUID, "data": "data"},
    "keyring": {"type": "key-file", "file": "master.key"},
    "tls": {"authority": "ca.pem", "certificate": "/etc/qss/A.pem", "key": "A.key"},
    "northbound": {"listen": "127.0.0.1:8443"},
    "external": {"listen": "127.0.0.1:8444"},
    "admin": {"listen": "[::1]:8445"},
    "links": [
        {
            "peer": "B",
            "uuid": LINK_UUID,
            "address": "b.example:8444",
            "device": {"type": "simulator", "rate_bps": 1_000_000},
        }
    ],
    "saes": [{"id": "sae:alice", "site": "A"}, {"id": "sae:bob", "site": "B"}],
    "pairs": [{"master": "sae:alice", "slaves": ["sae:bob"]}],
}
REMOVED = object()


def toml(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case bool():
            return str(value).lower()
        case str():
            return (
                '"'
                + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\0", "\\u0000")
                + '"'
            )
        case _:
            return str(value)


def changed(key: str, value: object) -> dict[str, Any]:
    """BASE with the value at a dotted key replaced, added or removed."""
    document = copy.deepcopy(BASE)
    *path, last = key.replace("]", "").replace("[", ".").split(".")
    place: Any = document
    for part in path:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    if value is REMOVED:
        del place[last]
    elif isinstance(place, list):
        place.insert(int(last), value)
    else:
        place[last] = value
    return document


def write(folder: Path, document: dict[str, Any]) -> Path:
    file = folder / "site.toml"
    file.write_text("".join(f"{toml(key)} = {toml(value)}\n" for key, value in document.items()))
    return file


def refused(file: Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert caught.value.file == str(file)
    assert str(caught.value).startswith(str(file))
    return caught.value


def test_values_and_defaults(tmp_path: Path) -> None:
    site = load(write(tmp_path, BASE))
    assert site.site.uuid == UUID(SITE_UUID)
    assert site.site.data == tmp_path / "data"
    assert site.site.anchor_file == tmp_path / "data.anchor"
    assert site.keyring == KeyFileKeyRing(file=tmp_path / "master.key")
    assert site.tls.certificate == Path("/etc/qss/A.pem")
    assert site.northbound_authority == tmp_path / "ca.pem"
    assert site.northbound.key_limits() == KeyLimits()
    assert site.admin.listen == Address("::1", 8445)
    assert site.external.reply_timeout_s == 5
    assert site.lifetimes.reserved_s == 3600
    (link,) = site.links
    assert link.device == Simulator(rate_bps=1_000_000)
    assert (link.capacity_bits, link.max_reservations) == (100_000_000, 100_000)
    assert notes(site) == ()


def test_a_site_alone_needs_no_links_saes_or_pairs(tmp_path: Path) -> None:
    site = load(write(tmp_path, {k: v for k, v in BASE.items() if k not in {"links", "saes", "pairs"}}))
    assert (site.links, site.saes, site.pairs) == ((), (), ())


def test_what_is_set_is_used(tmp_path: Path) -> None:
    document = changed("northbound.authority", "saes.pem")
    document["site"]["anchor"] = "elsewhere/a"
    document["northbound"] |= {"identity": ["dns"], "minimum_tls": "1.2", "key_size": 128, "max_sae_id_count": 0}
    site = load(write(tmp_path, document))
    assert site.northbound_authority == tmp_path / "saes.pem"
    assert site.site.anchor_file == tmp_path / "elsewhere" / "a"
    assert site.northbound.identity == ("dns",)
    assert site.northbound.minimum_tls == "1.2"
    assert site.northbound.key_limits() == KeyLimits(key_size=128, max_sae_id_count=0)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"type": "passphrase", "file": "/run/p"}, PassphraseKeyRing(file=Path("/run/p"))),
        ({"type": "key-file", "file": "/run/k"}, KeyFileKeyRing(file=Path("/run/k"))),
        ({"type": "systemd", "credential": "qss-master"}, SystemdKeyRing(credential="qss-master")),
    ],
)
def test_key_rings(tmp_path: Path, table: dict[str, str], expected: object) -> None:
    assert load(write(tmp_path, changed("keyring", table))).keyring == expected


@pytest.mark.parametrize(
    ("key", "value", "found", "allowed"),
    [
        # names
        ("site.id", "A B", "'A B'", "a QKS ID"),
        ("site.id", "", "''", "a QKS ID"),
        ("site.id", 5, "5", "a QKS ID"),
        ("links[0].peer", "x" * 64, "'xxx", "1 to 63"),
        ("saes[1].site", "-", "'-'", "a QKS ID"),
        ("saes[0].id", "sae alice", "'sae alice'", "an SAE ID"),
        ("saes[0].id", "*\n", "'*\\n'", "an SAE ID"),
        ("admin.administrators", "sae:x", "'sae:x'", "a list, each item an SAE ID"),
        ("site.uuid", "6f1c", "'6f1c'", "a UUID"),
        # types and ranges
        ("site", 3, "3", "a table with id, uuid, data, anchor"),
        ("site.data", "", "''", "a path"),
        ("site.data", "a\0b", "'a\\x00b'", "a path"),
        ("tls.key", ["A.key"], "a list of 1", "a path"),
        ("northbound.key_size", 100, "100", "a multiple of 8"),
        ("northbound.key_size", 256.0, "256.0", "a whole number"),
        ("northbound.key_size", True, "true", "a whole number"),
        ("northbound.max_key_per_request", 65_537, "65537", "from 1 to 65536"),
        ("northbound.max_key_per_request", 10**30, "1000000", "from 1 to 65536"),
        ("northbound.max_sae_id_count", -1, "-1", "from 0 to 255"),
        ("northbound.max_body_bytes", 1, "1", "from 1024"),
        ("northbound.max_connections", 0, "0", "from 1"),
        ("northbound.request_timeout_s", 0, "0", "above 0"),
        ("northbound.minimum_tls", "1.1", "'1.1'", '"1.2", "1.3"'),
        ("northbound.identity", [], "a list of 0", "a list of at least 1"),
        ("external.reply_timeout_s", "5s", "'5s'", "a number above 0"),
        ("lifetimes.reserved_s", float("inf"), "inf", "a number above 0"),
        ("lifetimes.reserved_s", float("nan"), "nan", "a number above 0"),
        ("links", {}, "a table", "a list, each item a table with peer"),
        (
            "links[0].device",
            1,
            "1",
            'a table whose type is one of "simulator", "seeded-simulator", "file", "etsi014", "etsi004"',
        ),
        (
            "links[0].device.type",
            "photon",
            "'photon'",
            'one of "simulator", "seeded-simulator", "file", "etsi014", "etsi004"',
        ),
        ("links[0].device.rate_bps", "1 Mbit/s", "'1 Mbit/s'", "a number above 0 to 10000000000"),
        ("links[0].device.qber", float("nan"), "nan", "a number from 0 to 0.5"),
        ("links[0].device.block_bytes", 1023, "1023", "from 1024 to 65536"),
        ("links[0].capacity_bits", 1, "1", "from 8192"),
        ("links[0].max_reservations", 0, "0", "from 1"),
        ("links[0].relay_reserve_bits", 100_000_000, "100000000", "less than capacity_bits, which is 100000000"),
        ("links[0].relay_floor_bits", -1, "-1", "from 0"),
        ("links[0].relay_floor_bits", 100_000_001, "100000001", "at most capacity_bits, which is 100000000"),
        ("pairs[0].slaves", [], "a list of 0", "at least 1"),
        ("pairs[0].relay", "direct", "'direct'", "a table with direct_only, disjoint_paths"),
        ("pairs[0].relay.direct_only", 1, "1", "true or false"),
        ("pairs[0].relay.disjoint_paths", 9, "9", "from 1 to 8"),
        ("pairs[0].relay.max_hops", 0, "0", "from 1 to 16"),
        ("pairs[0].relay.hybrid", "kyber", "'kyber'", 'one of "ml-kem-768"'),
        ("pairs[0].relay.hop", "xor", "'xor'", 'one of "aes-256-gcm", "one-time-pad"'),
        ("pairs[0].relay.avoid", [f"S{number}" for number in range(17)], "a list of 17", "a list of at most 16"),
        ("relay.capacity_bits", 1, "1", "from 65536"),
        # addresses
        ("northbound.listen", "8443", "'8443'", "host:port"),
        ("northbound.listen", "::1:8443", "'::1:8443'", "an IPv6 host in brackets"),
        ("northbound.listen", "localhost:65536", "'localhost:65536'", "port 0 to 65535"),
        ("northbound.listen", "https://localhost:1", "'https://localhost:1'", "host:port"),
        ("northbound.listen", 8443, "8443", "host:port"),
        ("links[0].address", "b:0", "'b:0'", "1 to 65535"),
        # rules between keys
        ("site.anchor", "data/anchor", "'/", "outside site.data"),
        ("northbound.min_key_size", 512, "256", "512 to 8192"),
        ("northbound.max_key_size", 128, "256", "64 to 128"),
        ("northbound.identity", ["uri", "cn", "uri"], "'uri' twice", "once"),
        ("external.listen", "127.0.0.1:8443", "'127.0.0.1:8443'", "another port than northbound.listen"),
        ("links[0].peer", "A", "'A'", "another site than site.id"),
        ("links[0].uuid", SITE_UUID, SITE_UUID, "of its own"),
        ("saes[1].id", "sae:alice", "'sae:alice' again", "one home site"),
        ("pairs[0].master", "sae carol", "'sae carol'", "an SAE ID"),
        ("pairs[0].slaves[1]", "sae\tcarol", "'sae\\tcarol'", "an SAE ID"),
        ("pairs[0].slaves[1]", "sae:alice", "'sae:alice'", "another SAE than the master"),
        (
            "pairs[0].relay.avoid",
            ["".join(letters) * 21 for letters in islice(permutations("ABCD", 3), 16)],
            "a list of 16",
            "fewer sites",
        ),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, key: str, value: object, found: str, allowed: str) -> None:
    error = refused(write(tmp_path, changed(key, value)))
    # One rule compares two keys, and blames the one that lies outside the other two.
    blamed = "northbound.key_size" if key in {"northbound.min_key_size", "northbound.max_key_size"} else key
    assert error.key == blamed
    assert found in error.found
    assert allowed in error.allowed
    assert len(error.found) < 200


@pytest.mark.parametrize(
    ("relay", "key", "found"),
    [
        ({"direct_only": True, "disjoint_paths": 2}, "direct_only", "true"),
        ({"direct_only": True, "hybrid": "ml-kem-768"}, "direct_only", "true"),
        ({"avoid": ["C", "C D"]}, "avoid[1]", "'C D'"),
        ({"avoid": ["C", "D", "C"]}, "avoid[2]", "'C' again"),
    ],
)
def test_a_demand_that_nothing_meets(tmp_path: Path, relay: dict[str, object], key: str, found: str) -> None:
    error = refused(write(tmp_path, changed("pairs[0].relay", relay)))
    assert (error.key, error.found) == (f"pairs[0].relay.{key}", found)
    assert error.allowed


def test_what_a_pair_demands(tmp_path: Path) -> None:
    relay = {"disjoint_paths": 2, "hybrid": "ml-kem-768", "max_hops": 4, "avoid": ["D"], "hop": "aes-256-gcm"}
    (pair,) = load(write(tmp_path, changed("pairs[0].relay", relay))).pairs
    assert demand_of(pair.relay) == Demand(
        avoid=frozenset({QksId("D")}), disjoint_paths=2, hop=Hop.AES_256_GCM, hybrid=Hybrid.ML_KEM_768, max_hops=4
    )
    (pair,) = load(write(tmp_path, changed("pairs[0].relay", {"direct_only": True, "avoid": ["D"]}))).pairs
    assert demand_of(pair.relay) == Demand(direct_only=True, avoid=frozenset({QksId("D")}))
    assert demand_of(load(write(tmp_path, BASE)).pairs[0].relay) == NOTHING


def test_min_above_max(tmp_path: Path) -> None:
    document = changed("northbound.min_key_size", 512)
    document["northbound"]["max_key_size"] = 256
    assert refused(write(tmp_path, document)).key == "northbound.min_key_size"


def test_key_streams_are_off_unless_they_are_configured(tmp_path: Path) -> None:
    assert load(write(tmp_path, BASE)).key_streams is None
    site = load(write(tmp_path, changed("key_streams.listen", "127.0.0.1:8447")))
    assert site.key_streams is not None
    assert (site.key_streams.listen, site.key_streams.max_connections) == (Address("127.0.0.1", 8447), 256)
    error = refused(write(tmp_path, changed("key_streams.listen", "127.0.0.1:8443")))
    assert (error.key, error.allowed) == ("key_streams.listen", "another port than northbound.listen")


def test_key_streams_need_requests_that_a_block_fits_into(tmp_path: Path) -> None:
    document = changed("key_streams.listen", "127.0.0.1:8447")
    document["northbound"] |= {"max_key_size": 256, "max_key_per_request": 32}
    load(write(tmp_path, document))
    document["northbound"]["max_key_per_request"] = 31
    error = refused(write(tmp_path, document))
    assert error.key == "northbound.max_key_per_request"
    assert "they have 7936" in error.allowed
    del document["key_streams"]
    load(write(tmp_path, document))


def test_an_answer_is_bounded(tmp_path: Path) -> None:
    document = changed("northbound.max_key_size", 1 << 20)
    document["northbound"]["max_key_per_request"] = 1025
    error = refused(write(tmp_path, document))
    assert error.key == "northbound.max_key_per_request"
    assert "at most 1024" in error.allowed
    document["northbound"]["max_key_per_request"] = 1024
    load(write(tmp_path, document))


def test_a_second_link_to_a_neighbour(tmp_path: Path) -> None:
    document = changed("links[1]", BASE["links"][0] | {"uuid": OTHER_UUID})  # type: ignore[index, operator]
    error = refused(write(tmp_path, document))
    assert (error.key, error.found) == ("links[1].peer", "'B' again")


def test_a_link_uuid_given_twice(tmp_path: Path) -> None:
    error = refused(write(tmp_path, changed("links[1]", BASE["links"][0] | {"peer": "C"})))  # type: ignore[index, operator]
    assert (error.key, error.found) == ("links[1].uuid", f"{LINK_UUID} again")


def with_modules(*modules: dict[str, object]) -> dict[str, Any]:
    """BASE, its link with these device pairs instead of one device."""
    document = changed("links[0].device", REMOVED)
    document["links"][0]["modules"] = list(modules)
    return document


DEVICE = {"type": "simulator", "rate_bps": 1000}
PAIR_UUIDS = "3f0d9a51-6f0e-4b7c-8a53-0f4f1f3c5d03", "9c1be8f4-24d7-4f0a-b1c9-5d2f7a6e8b04"


def test_a_device_of_a_link_is_its_only_pair_and_has_its_uuid(tmp_path: Path) -> None:
    (link,) = load(write(tmp_path, BASE)).links
    assert link.pairs == (LinkModule(uuid=UUID(LINK_UUID), device=link.device),)
    assert link.pairs[0].pair == PairId(UUID(LINK_UUID).bytes)


def test_a_link_with_several_device_pairs(tmp_path: Path) -> None:
    one, two = {"uuid": PAIR_UUIDS[0], "device": DEVICE}, {"uuid": PAIR_UUIDS[1], "module": "A/1"}
    (link,) = load(write(tmp_path, with_modules(one, two))).links
    assert [str(module.pair) for module in link.pairs] == [*PAIR_UUIDS]
    assert [module.module for module in link.pairs] == [None, "A/1"]
    assert [module.device for module in link.pairs] == [Simulator(rate_bps=1000), None]


def test_one_pair_may_have_the_uuid_of_its_link(tmp_path: Path) -> None:
    load(write(tmp_path, with_modules({"uuid": LINK_UUID, "device": DEVICE})))


HERE = {"uuid": PAIR_UUIDS[0], "device": DEVICE}
APART = {"uuid": PAIR_UUIDS[0], "module": "A/1"}


@pytest.mark.parametrize(
    ("modules", "key", "found"),
    [
        ([{"uuid": PAIR_UUIDS[0]}], "links[0].modules[0]", "neither device nor module"),
        (
            [{"uuid": PAIR_UUIDS[0], "device": DEVICE, "module": "A/1"}],
            "links[0].modules[0]",
            "both device and module",
        ),
        ([{"uuid": PAIR_UUIDS[0], "module": "B/1"}], "links[0].modules[0].module", "'B/1'"),
        ([{"uuid": PAIR_UUIDS[0], "module": "A"}], "links[0].modules[0].module", "'A'"),
        ([{"uuid": PAIR_UUIDS[0], "module": "A/1"}] * 2, "links[0].modules[1].uuid", f"{PAIR_UUIDS[0]} again"),
        ([{"uuid": uuid, "module": "A/1"} for uuid in PAIR_UUIDS], "links[0].modules[1].module", "A/1 again"),
        ([], "links[0].device", "nothing"),
        ([HERE | {"peer_module": "A/1"}], "links[0].modules[0].peer_module", "'A/1'"),
        ([HERE | {"peer_module": "B"}], "links[0].modules[0].peer_module", "'B'"),
        ([HERE | {"sync": "b:1"}], "links[0].modules[0].peer_module", "nothing"),
        ([HERE | {"sync": "b:0", "peer_module": "B/1"}], "links[0].modules[0].sync", "'b:0'"),
        ([HERE | {"peer_module": "B/1"}], "links[0].modules[0].sync", "nothing"),
        ([APART | {"peer_module": "B/1"}], "links[0].modules[0].peer_module", "'B/1'"),
        ([APART | {"sync": "b:1"}], "links[0].modules[0].sync", "'b:1'"),
    ],
)
def test_device_pairs_that_cannot_be_used(
    tmp_path: Path, modules: list[dict[str, object]], key: str, found: str
) -> None:
    error = refused(write(tmp_path, with_modules(*modules)))
    assert error.key == key
    assert found in error.found
    assert error.allowed


def test_the_site_that_is_called_does_not_say_where(tmp_path: Path) -> None:
    document = with_modules(HERE | {"peer_module": "0/1"})
    document["links"][0]["peer"] = document["saes"][1]["site"] = "0"
    assert load(write(tmp_path, document)).links[0].pairs[0].peer_module == "0/1"
    document["links"][0]["modules"][0]["sync"] = "b:1"
    error = refused(write(tmp_path, document))
    assert (error.key, error.found) == ("links[0].modules[0].sync", "'b:1'")
    assert "higher ID" in error.allowed


def test_a_device_and_modules(tmp_path: Path) -> None:
    document = changed("links[0].modules", [{"uuid": PAIR_UUIDS[0], "module": "A/1"}])
    assert refused(write(tmp_path, document)).key == "links[0].modules"


def test_more_device_pairs_than_may_be(tmp_path: Path) -> None:
    modules = [{"uuid": str(UUID(int=number)), "module": f"A/{number}"} for number in range(65)]
    assert refused(write(tmp_path, with_modules(*modules))).key == "links[0].modules"


def test_a_seed_in_one_of_several_pairs_is_noted(tmp_path: Path) -> None:
    seeded = {"uuid": PAIR_UUIDS[0], "device": {"type": "seeded-simulator", "rate_bps": 1000, "seed": 7}}
    (note,) = notes(load(write(tmp_path, with_modules(seeded))))
    assert note.startswith("links[0].modules[0].device: ")


def test_an_sae_uuid_given_twice(tmp_path: Path) -> None:
    document = changed("saes[0].uuid", OTHER_UUID)
    document["saes"][1]["uuid"] = OTHER_UUID
    assert refused(write(tmp_path, document)).key == "saes[1].uuid"


@pytest.mark.parametrize(("base", "good"), [(960.0, False), (960.5, True)])
def test_no_link_may_cost_nothing(tmp_path: Path, base: float, good: bool) -> None:
    document = changed("site.id", "A")
    document["routing"] = {"cost_base": base}
    if good:
        assert load(write(tmp_path, document)).routing.cost_base == base
    else:
        error = refused(write(tmp_path, document))
        assert (error.key, error.found) == ("routing.cost_base", "960")
        assert "which are 960" in error.allowed


@pytest.mark.parametrize(
    ("said", "bits", "floor_bytes"),
    [(None, 262_144, 32_768), (0, 0, 0), (12_345, 12_345, 1544), (10**8, 10**8, 12_500_000)],
)
def test_relaying_leaves_a_thousand_keys_of_a_link_unless_another_floor_is_said(
    tmp_path: Path, said: int | None, bits: int, floor_bytes: int
) -> None:
    document = BASE if said is None else changed("links[0].relay_floor_bits", said)
    site = load(write(tmp_path, document))
    assert site.links[0].floor_bits == bits
    settings = link_settings(site, site.links[0], SimpleNamespace(objection=lambda *_: None))
    assert settings.relay_floor_bytes == floor_bytes


def test_capacity_below_one_block(tmp_path: Path) -> None:
    document = changed("links[0].capacity_bits", 8192)
    document["links"][0]["device"]["block_bytes"] = 1025
    error = refused(write(tmp_path, document))
    assert error.key == "links[0].capacity_bits"
    assert "8200 bits" in error.allowed


@pytest.mark.parametrize(
    "key",
    [
        "site",
        "site.id",
        "site.uuid",
        "site.data",
        "keyring",
        "keyring.type",
        "keyring.file",
        "tls.authority",
        "tls.certificate",
        "tls.key",
        "northbound.listen",
        "external",
        "admin.listen",
        "links[0].peer",
        "links[0].uuid",
        "links[0].address",
        "links[0].device",
        "links[0].device.type",
        "links[0].device.rate_bps",
        "saes[1].id",
        "saes[0].site",
        "pairs[0].master",
        "pairs[0].slaves",
    ],
)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    error = refused(write(tmp_path, changed(key, REMOVED)))
    assert (error.key, error.found) == (key, "nothing")
    assert error.allowed


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("lnks", "'links', perhaps"),
        ("site.uid", "perhaps"),
        ("northbound.max_keys_per_request", "'max_key_per_request', perhaps"),
        ("links[0].device.rate", "'rate_bps', perhaps"),
        ("links[0].device.seed", "type, rate_bps"),
        ("keyring.passphrase", "file, type"),
        ("pairs[0].zzzzzz", "master, slaves"),
    ],
)
def test_an_unknown_key_gets_the_nearest_known_one(tmp_path: Path, key: str, allowed: str) -> None:
    error = refused(write(tmp_path, changed(key, "correct horse battery staple")))
    assert (error.key, error.found) == (key, "an unknown key")
    assert allowed in error.allowed or set(allowed.split(", ")) <= set(error.allowed.split(", "))
    assert "horse" not in str(error)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("keyring", "correct horse battery staple"),
        ("keyring.type", "correct horse battery staple"),
        ("keyring.file", ["correct horse battery staple"]),
        ("keyring", {"type": "systemd", "credential": "correct horse battery staple"}),
        ("links[0].device", {"type": "seeded-simulator", "rate_bps": 1, "seed": "correct horse battery staple"}),
        ("links[0].device", {"type": "seeded-simulator", "rate_bps": 1, "seed": -123456789}),
    ],
)
def test_what_may_be_secret_is_never_shown(tmp_path: Path, key: str, value: object) -> None:
    error = refused(write(tmp_path, changed(key, value)))
    assert error.key.startswith(key)
    assert "horse" not in str(error)
    assert "123456789" not in str(error)


@pytest.mark.parametrize(
    ("device", "key"),
    [
        ({"path": "courier/key"}, "path"),
        ({"path": "courier"}, "path"),
        ({"path": "courier/key/more"}, "path"),
        ({"path": "courier/./key"}, "path"),
        ({"path": "courier/key.state/key"}, "path"),
        ({"path": "another", "state": "courier/key"}, "state"),
        ({"path": "another", "state": "courier/key.state"}, "state"),
    ],
)
def test_couriered_key_serves_one_pair(tmp_path: Path, device: dict[str, str], key: str) -> None:
    document = changed("links[0].device", {"type": "file", "path": str(tmp_path / "courier" / "key")})
    document["links"].append(document["links"][0] | {"peer": "C", "uuid": OTHER_UUID})
    document["links"][1]["device"] = {"type": "file"} | device
    error = refused(write(tmp_path, document))
    assert error.key == f"links[1].device.{key}"
    assert "links[0].device." in error.allowed
    document["links"][1]["device"] = {"type": "file", "path": "courier/another"}
    site = load(write(tmp_path, document))
    assert [link.device.path for link in site.links] == [tmp_path / "courier" / name for name in ("key", "another")]


def test_a_seed_needs_the_device_that_admits_it(tmp_path: Path) -> None:
    device = {"type": "seeded-simulator", "rate_bps": 1000, "seed": 7}
    site = load(write(tmp_path, changed("links[0].device", device)))
    assert site.links[0].device == SeededSimulator(rate_bps=1000, seed=7)
    (note,) = notes(site)
    assert "links[0].device" in note
    assert "tests only" in note


BOX = {
    "type": "etsi014",
    "address": "box.example:443",
    "side": "master",
    "own_sae": "sae-1",
    "other_sae": "sae-2",
    "certificate": "box/own.pem",
    "key": "box/own.key",
    "authority": "box/ca.pem",
}


def test_a_vendors_box_and_its_defaults(tmp_path: Path) -> None:
    box = load(write(tmp_path, changed("links[0].device", BOX))).links[0].device
    assert isinstance(box, Etsi014)
    assert (box.address, box.certificate) == (Address("box.example", 443), tmp_path / "box" / "own.pem")
    assert (box.base_path, box.key_bits, box.block_bytes, box.timeout_s) == ("/api/v1/keys", None, 1024, 10)


@pytest.mark.parametrize(
    ("key", "value", "found", "allowed"),
    [
        ("side", "both", "'both'", 'one of "master", "slave"'),
        ("own_sae", "", "''", "an SAE ID"),
        ("other_sae", "sae 2", "'sae 2'", "an SAE ID"),
        ("other_sae", "sae-1", "'sae-1'", "another SAE than own_sae"),
        ("address", "box.example:0", "'box.example:0'", "the port that the box listens on"),
        ("base_path", "api", "'api'", "begins with '/'"),
        ("base_path", "/api/", "'/api/'", "begins with '/'"),
        ("base_path", "/api?x", "'/api?x'", "begins with '/'"),
        ("base_path", "/api\n", "'/api\\n'", "begins with '/'"),
        ("base_path", "/" + "a" * 255, None, "begins with '/'"),
        ("key_bits", 100, "100", "a multiple of 8"),
        ("block_bytes", 1000, "1000", "from 1024 to 65536"),
    ],
)
def test_what_a_vendors_box_cannot_be(tmp_path: Path, key: str, value: object, found: str | None, allowed: str) -> None:
    error = refused(write(tmp_path, changed("links[0].device", {**BOX, key: value})))
    assert error.key == f"links[0].device.{key}"
    assert allowed in error.allowed
    assert found is None or error.found == found


BOX_WITH_004 = {
    **{key: BOX[key] for key in ("address", "certificate", "key", "authority")},
    "type": "etsi004",
    "source": "app:a",
    "destination": "app:b",
}


def test_a_vendors_box_with_004_and_its_defaults(tmp_path: Path) -> None:
    box = load(write(tmp_path, changed("links[0].device", BOX_WITH_004))).links[0].device
    assert isinstance(box, Etsi004)
    assert (box.source, box.destination, box.chunk_bytes, box.form, box.edition) == (
        "app:a",
        "app:b",
        None,
        "forge",
        "2.1.1",
    )


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("source", "", "a URI"),
        ("source", "app:a?token=horse battery", "a URI"),
        ("destination", 123456789, "a URI"),
        ("chunk_bytes", 0, "from 1 to 65536"),
        ("form", "other", 'one of "forge", "qubip"'),
        ("address", "box.example:0", "the port that the box listens on"),
    ],
)
def test_what_a_vendors_box_with_004_cannot_be(tmp_path: Path, key: str, value: object, allowed: str) -> None:
    error = refused(write(tmp_path, changed("links[0].device", {**BOX_WITH_004, key: value})))
    assert error.key == f"links[0].device.{key}"
    assert allowed in error.allowed
    assert "horse" not in str(error)
    assert "123456789" not in str(error)


def test_any_sae_has_to_be_said(tmp_path: Path) -> None:
    site = load(write(tmp_path, changed("pairs[0]", {"master": "*", "slaves": ["*"]})))
    assert site.pairs[0].master == "*"


def test_free_ports_may_be_alike(tmp_path: Path) -> None:
    document = changed("northbound.listen", "127.0.0.1:0")
    document["external"]["listen"] = "127.0.0.1:0"
    assert load(write(tmp_path, document)).external.listen.port == 0


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[site]\nid = A\n", "(at line 2, column 6)"),
        (b"[site]\n[site]\n", "line 2"),
        (b"id = '\xff'", "no UTF-8 at position 6"),
        (b"n = " + b"9" * 5000, "too long"),
        (b"n = " + b"[" * 20_000, "too deep"),
    ],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes, found: str) -> None:
    file = tmp_path / "site.toml"
    file.write_bytes(content)
    error = refused(file)
    assert error.key == ""
    assert found in error.found


def test_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.toml").found == "no such file"
    assert "cannot be read" in refused(tmp_path).found


TOML_VALUES = st.recursive(
    st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text("ab:*[]0.\n", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "peer", "x", "id"]), inner),
    max_leaves=6,
)
KEYS = ["site", "keyring", "links", "links[0]", "links[0].device", "saes[0]", "pairs[0].slaves", "northbound.key_size"]


@given(key=st.sampled_from([*KEYS, "admin.administrators", "tls.key", "northbound.identity", "zzz"]), value=TOML_VALUES)
def test_whatever_is_found_it_loads_or_is_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    file = write(tmp_path_factory.getbasetemp(), changed(key, value))
    tomllib.loads(file.read_text())
    with contextlib.suppress(ConfigurationError):
        load(file)


LABEL = r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?"


@pytest.mark.parametrize("host", ["a..b", ".a", "a.", "-a", "a-.b", "x" * 64, ".".join(["x" * 60] * 5), "a b", ""])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{host}:1")):
        Address.parse(f"{host}:1")


@given(
    host=st.from_regex(rf"{LABEL}(\.{LABEL}){{0,3}}|[0-9a-f:]{{2,20}}:[0-9a-f]", fullmatch=True),
    port=st.integers(0, 65_535),
)
def test_an_address_survives_its_text(host: str, port: int) -> None:
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize(
    ("warm", "key", "found"),
    [
        ([{"site": "A", "bits": 64}], "relay.warm[0].site", "'A', which is this site"),
        ([{"site": "Z", "bits": 1 << 30}], "relay.warm[0].bits", "1073741824"),
        ([{"site": "Z", "bits": 64}] * 2, "relay.warm[1]", "the same site and way again"),
        ([{"site": "Z", "bits": 64, "relay": {"direct_only": True}}], "relay.warm[0].relay.direct_only", "true"),
    ],
)
def test_streams_that_cannot_be_held_ready(tmp_path: Path, warm: list[dict[str, Any]], key: str, found: str) -> None:
    error = refused(write(tmp_path, changed("relay", {"warm": warm})))
    assert error.key == key
    assert found in error.found


def test_tags_are_of_each_link_and_else_as_routing_has_it(tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    second = {**document["links"][0], "peer": "C", "uuid": OTHER_UUID}
    document["links"].append(second)
    assert tag_settings(load(write(tmp_path, document))) == {}
    document["routing"] = {"link_tags": "offered"}
    second["link_tags"] = "required"
    assert tag_settings(load(write(tmp_path, document))) == {"B": TagSetting.OFFERED, "C": TagSetting.REQUIRED}
    second["link_tags"] = "off"
    assert tag_settings(load(write(tmp_path, document))) == {"B": TagSetting.OFFERED}


@pytest.mark.parametrize("key", ["routing.link_tags", "links[0].link_tags"])
def test_a_routing_module_of_its_own_gets_no_key_to_tag_with(tmp_path: Path, key: str) -> None:
    document = copy.deepcopy(BASE)
    document["routing"] = {"process": "localhost:8448"}
    table = document["routing"] if key.startswith("routing") else document["links"][0]
    table["link_tags"] = "off"
    load(write(tmp_path, document))
    for setting in ("offered", "required"):
        table["link_tags"] = setting
        error = refused(write(tmp_path, document))
        assert (error.key, error.found) == (key, repr(setting))
        assert "routing.process" in error.allowed
