"""The demo's QKD modules as processes of their own: two for each link, each with a certificate and a configuration.

A site numbers its modules: those of B are `B/1`, towards A, and `B/2`, towards C.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import uuid4

from qss.model.identifiers import QkdmId, QksId, parse_qkdm_id, site_of_module

PORTS_OF_A_LINK = 3
"""Its modules listen for their key servers, and one of them for the other."""


@dataclass(frozen=True)
class SplitModule:
    """One module: its device pair's UUID, the site and module at the other end, and ports."""

    name: QkdmId
    pair: str
    peer: QksId
    peer_module: QkdmId
    southbound: int
    sync: int
    """Where the end with the higher QKS ID listens."""

    @property
    def site(self) -> QksId:
        """The module's own site."""
        return site_of_module(self.name)

    def toml(self, external: int, device: str) -> str:
        """Return its configuration; `external` is the port where its site's key server listens for modules."""
        sync = "address" if self.site < self.peer else "listen"
        stem = f"pki/modules/{self.name}"
        return "\n".join(
            [
                f'[module]\nid = "{self.name}"\npair = "{self.pair}"',
                f'peer = "{self.peer}"\npeer_module = "{self.peer_module}"\n',
                f'[tls]\nauthority = "pki/ca.pem"\ncertificate = "{stem}.pem"\nkey = "{stem}.key"\n',
                f'[southbound]\nlisten = "127.0.0.1:{self.southbound}"\n',
                f'[sync]\n{sync} = "127.0.0.1:{self.sync}"\n',
                f'[register]\naddress = "127.0.0.1:{external}"\n',
                f"[device]\n{device}\n",
            ]
        )


def split_modules(links: Iterable[tuple[QksId, QksId]], ports: Iterable[int]) -> list[SplitModule]:
    """Return the modules of both ends of all links, in order; `ports` has three for each link."""
    numbers: Counter[QksId] = Counter()
    free = iter(ports)
    made = []
    for link in links:
        pair, sync = str(uuid4()), next(free)
        numbers.update(link)
        names = [parse_qkdm_id(f"{site}/{numbers[site]}") for site in link]
        for name, peer, other in zip(names, link[::-1], names[::-1], strict=True):
            made.append(SplitModule(name, pair, peer, other, next(free), sync))
    return made
