"""A module's configuration: what is refused, by which words, and what is only noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from qss.app.module_configuration import is_initiator, load, notes
from qss.app.module_tables import ModuleConfiguration
from qss.model.addresses import Address
from qss.model.errors import ConfigurationError

TOML = """
[module]
id = "{id}"
pair = "9c1be8f4-24d7-4f0a-b1c9-5d2f7a6e8b04"
peer = "{peer}"
{peer_module}

[tls]
authority = "ca.pem"
certificate = "1.pem"
key = "1.key"

[southbound]
listen = "127.0.0.1:4004"
{southbound}

[sync]
{sync}

[device]
type = "{device}"
rate_bps = 1000
{seed}
"""
DIALS, LISTENS = 'address = "b.example.net:4005"', 'listen = "127.0.0.1:4005"'
REGISTER = '[register]\naddress = "127.0.0.1:8444"\n'


def loaded(folder: Path, more: str = REGISTER, **changed: str) -> ModuleConfiguration:
    values = dict.fromkeys(("southbound", "seed", "peer_module"), "")
    values |= {"id": "A/1", "peer": "B", "sync": DIALS, "device": "simulator"} | changed
    (folder / "module.toml").write_text(TOML.format(**values) + more, encoding="utf-8")
    return load(folder / "module.toml")


def test_the_lower_site_dials_and_the_higher_one_listens(tmp_path):
    lower, higher = loaded(tmp_path), loaded(tmp_path, peer="0", sync=LISTENS)
    assert is_initiator(lower)
    assert lower.sync.address == Address("b.example.net", 4005)
    assert not is_initiator(higher)
    assert higher.sync.listen == Address("127.0.0.1", 4005)
    assert notes(lower) == notes(higher) == ()


@pytest.mark.parametrize(
    ("key", "allowed", "changed"),
    [
        ("module.id", "a module's name", {"id": "A"}),
        ("module.id", "a module's name", {"id": "A/1/2"}),
        ("module.peer", "a QKS ID", {"peer": "B/1"}),
        ("module.peer", "another site", {"peer": "A"}),
        ("module.peer_module", "of the site at the other end", {"peer_module": 'peer_module = "A/2"'}),
        ("module.peer_module", "of the site at the other end", {"peer_module": 'peer_module = "B"'}),
        ("sync.address", "the site with the lower ID", {"sync": ""}),
        ("sync.address", "the site with the lower ID", {"sync": LISTENS}),
        ("sync.listen", "`address` alone", {"sync": f"{DIALS}\n{LISTENS}"}),
        ("sync.listen", "the site with the higher ID", {"peer": "0", "sync": DIALS}),
        ("sync.address", "`listen` alone", {"peer": "0", "sync": f"{DIALS}\n{LISTENS}"}),
        ("sync.address", "1 to 65535", {"sync": 'address = "b:0"'}),
        ("southbound.address", "1 to 65535", {"southbound": 'address = "a:0"'}),
        ("register.address", "1 to 65535", {"more": '[register]\naddress = "a:0"\n'}),
        ("southbound.clients[0]", "an SAE ID", {"southbound": 'clients = ["a b"]'}),
        ("southbound.identity", "each certificate field once", {"southbound": 'identity = ["cn", "cn"]'}),
        ("admin.administrators[0]", "an SAE ID", {"more": '[admin]\nlisten = "a:1"\nadministrators = [""]\n'}),
        ("admin.listen", "another port than southbound.listen", {"more": '[admin]\nlisten = "127.0.0.1:4004"\n'}),
        ("sync.listen", "another port", {"peer": "0", "sync": 'listen = "127.0.0.1:4004"'}),
        ("device.seed", "a whole number", {"device": "seeded-simulator"}),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_key(tmp_path, key, allowed, changed):
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, **changed)
    assert (caught.value.key, allowed in caught.value.allowed) == (key, True), str(caught.value)


def test_what_is_odd_is_noted(tmp_path):
    (seeded,) = notes(loaded(tmp_path, device="seeded-simulator", seed="seed = 1"))
    assert "for tests only" in seeded
    (lonely,) = notes(loaded(tmp_path, more=""))
    assert "nobody will pull key" in lonely
    assert notes(loaded(tmp_path, more="", southbound='clients = ["sae:vpn"]')) == ()
