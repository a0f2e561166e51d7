"""The demo's network: four sites in a ring, their applications, and all their files in one folder.

Everything is made as an operator would make it: an authority with `qss.pki`, a `site.toml` and a data folder for each
site and, if they are split off, each module. All listen on loopback addresses only.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from qss.app.catalogue import keyring_of, make_master_key
from qss.app.data_folder import initialise
from qss.app.homes import state_home
from qss.app.site_tables import KeyFileKeyRing
from qss.cli.demo.modules import PORTS_OF_A_LINK, SplitModule, split_modules
from qss.model.identifiers import QkdmId, QksId, SaeId
from qss.pki.folder import PkiFolder

SITES = A, B, C, D = tuple(map(QksId, "ABCD"))
"""The sites, in a ring: each has links to two others. No application is at home in D, which only relays."""

LINKS = ((A, B), (B, C), (C, D), (A, D))

HOMES = {
    SaeId("sae:alice"): A,
    SaeId("sae:bob"): B,
    SaeId("sae:bella"): B,
    SaeId("sae:carol"): C,
    SaeId("sae:chris"): C,
}
"""The applications, and the site at which each is at home."""

STRANGER = SaeId("sae:mallory")
"""An application with a good certificate that no site knows."""

RATE_BPS = 400_000
"""What each simulated device yields."""

CAPACITY_BITS = 500_000
"""Key that each link keeps, and some chunks more. The largest request asks for more, and is refused therefore."""

_HOST = "localhost"
_PORTS = range(20_000, 32_768)
_DAYS = 7


@dataclass(frozen=True)
class Ports:
    """Where one site listens."""

    northbound: int
    external: int
    admin: int


@dataclass
class Network:
    """The files of the demo's network under `folder`, or of another one with these links and applications.

    With `split`, modules are processes of their own.
    """

    folder: Path
    split: bool = False
    links: tuple[tuple[QksId, QksId], ...] = LINKS
    homes: Mapping[SaeId, QksId] = field(default_factory=lambda: HOMES)
    ports: dict[QksId, Ports] = field(default_factory=dict)
    modules: tuple[SplitModule, ...] = ()

    @property
    def sites(self) -> tuple[QksId, ...]:
        """The sites, in the order of their IDs."""
        return tuple(sorted({site for link in self.links for site in link}))

    @property
    def pki(self) -> PkiFolder:
        """The network's authority and the certificates that it issued."""
        return PkiFolder(self.folder / "pki")

    @property
    def processes(self) -> tuple[QksId | QkdmId, ...]:
        """What runs: the sites, and the modules that are processes of their own."""
        return (*self.sites, *(module.name for module in self.modules))

    def configuration(self, process: QksId | QkdmId) -> Path:
        """Where the configuration of a site or module is."""
        return self.folder / f"{stem(process)}.toml"

    def url(self, site: QksId) -> str:
        """Where a site's key server answers applications."""
        return f"https://{_HOST}:{self.ports[site].northbound}"

    async def build(self, on_step: Callable[[str], None]) -> None:
        """Make everything that the sites need to start; `on_step` hears what is being made."""
        on_step("making a certificate authority")
        self.pki.create("qss demo authority", _DAYS + 1)
        for sae in (*self.homes, STRANGER):
            self.pki.issue_sae(sae, _DAYS)
        for sae, home in self.homes.items():
            state_home(self.pki, sae, home, _DAYS)
        free = _free_ports(3 * len(self.sites) + PORTS_OF_A_LINK * len(self.links))
        links = [(pair, str(uuid4())) for pair in self.links]
        for number, site in enumerate(self.sites):
            on_step(f"making site {site}: certificate, data folder, configuration")
            self.ports[site] = Ports(*free[3 * number : 3 * number + 3])
        if self.split:
            on_step("making the modules: certificates, configurations")
            self.modules = tuple(split_modules(self.links, free[3 * len(self.sites) :]))
        for site in self.sites:
            self.pki.issue_site(site, [_HOST, "127.0.0.1"], _DAYS)
            keyring = KeyFileKeyRing(file=self.folder / f"{site}.master")
            make_master_key(keyring)
            await initialise(self.folder / f"{site}.data", site, keyring_of(keyring))
            self.configuration(site).write_text(self._toml(site, links), encoding="utf-8")
        for module in self.modules:
            self.pki.issue_module(module.name, [_HOST, "127.0.0.1"], _DAYS)
            toml = module.toml(self.ports[module.site].external, f'type = "simulator"\nrate_bps = {RATE_BPS}')
            self.configuration(module.name).write_text(toml, encoding="utf-8")

    def _toml(self, site: QksId, links: Sequence[tuple[tuple[QksId, QksId], str]]) -> str:
        ports = self.ports[site]
        tables = [
            f'[site]\nid = "{site}"\nuuid = "{uuid4()}"\ndata = "{site}.data"\n',
            f'[keyring]\ntype = "key-file"\nfile = "{site}.master"\n',
            f'[tls]\nauthority = "pki/ca.pem"\ncertificate = "pki/sites/{site}.pem"\nkey = "pki/sites/{site}.key"\n',
            f'[northbound]\nlisten = "127.0.0.1:{ports.northbound}"\n',
            f'[external]\nlisten = "127.0.0.1:{ports.external}"\n',
            f'[admin]\nlisten = "127.0.0.1:{ports.admin}"\n',
        ]
        for pair, uuid in links:
            if site in pair:
                peer = pair[1] if site == pair[0] else pair[0]
                tables.append(
                    f'[[links]]\npeer = "{peer}"\nuuid = "{uuid}"\naddress = "127.0.0.1:{self.ports[peer].external}"\n'
                    f"capacity_bits = {CAPACITY_BITS}\n{self._device(site, peer)}"
                )
        tables += [
            f'[[saes]]\nid = "{sae}"\nsite = "{site}"\nstatement = "pki/saes/{self.pki.home(sae).name}"\n'
            for sae, home in self.homes.items()
            if home == site
        ]
        tables += [
            f'[[pairs]]\nmaster = "{sae}"\nslaves = {json.dumps([other for other in self.homes if other != sae])}\n'
            for sae in self.homes
        ]
        return "\n".join(tables)

    def _device(self, site: QksId, peer: QksId) -> str:
        """Return the device of a link's end, or the module that has it."""
        for module in self.modules:
            if (module.site, module.peer) == (site, peer):
                return f'\n[[links.modules]]\nuuid = "{module.pair}"\nmodule = "{module.name}"\n'
        return f'device = {{ type = "simulator", rate_bps = {RATE_BPS} }}\n'


def stem(process: QksId | QkdmId) -> str:
    """Return what the names of a process's files begin with."""
    return process.replace("/", "-")


def _free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago; no two are the same.

    They lie below those that systems give to outgoing connections: a site that starts again finds its ports free.
    """
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(_PORTS, len(_PORTS)):
            one = stack.enter_context(socket.socket())
            with suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                break
    return found
