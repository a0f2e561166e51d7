"""A look at what sites say of their own books: Admin's status, asked with each site's own certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

import aiohttp
import msgspec

from qss.cli.demo.network import Network
from qss.model.identifiers import QksId
from qss.pki.contexts import application_context
from qss.wire.routes import RoutingStatus
from qss.wire.status import LinkStatus, SiteStatus
from torture.log import Looked
from torture.sites import CAPACITY_BITS

_TIMEOUT_S = 5.0
_REST_S = 0.5


def _is_full(link: LinkStatus) -> bool:
    return sum(stream.available for stream in link.streams) >= CAPACITY_BITS


class Watchtower:
    """Looks at the sites of a network. Use it as `async with`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def look(self, site: QksId) -> tuple[Looked, ...]:
        """Return what a site tells of each of its links and far sites; nothing if it does not answer."""
        status = await self._status(site)
        links = () if status is None else status.links
        return tuple(Looked(site, QksId(link.peer), link.streams, link.burned, far=link.uuid is None) for link in links)

    async def modules_run(self) -> bool:
        """Whether every site answers, and says of each of its device pairs that it has a key stream.

        That a stream has ended is noticed when its next key is wanted: a link that is full may do without.
        """
        told = [await self._status(site) for site in self._network.sites]
        return all(
            status is not None and all(_is_full(link) or all(pair.up for pair in link.pairs) for link in status.links)
            for status in told
        )

    async def all_are_known(self) -> bool:
        """Whether every site answers, and has a way to every application."""
        told = [await self._ask(site, "/routing", RoutingStatus) for site in self._network.sites]
        return all(
            status is not None and {one.SAE_ID for one in status.routes if one.next_hop} == set(self._network.homes)
            for status in told
        )

    async def _status(self, site: QksId) -> SiteStatus | None:
        return await self._ask(site, "/status", SiteStatus)

    async def _ask[T](self, site: QksId, path: str, kind: type[T]) -> T | None:
        pair = self._network.pki.site(site)
        context = application_context(pair.certificate, pair.key, self._network.pki.authority.certificate)
        try:
            async with self._session.get(self._url(site) + path, ssl=context) as answer:
                return msgspec.json.decode(await answer.read(), type=kind)
        except (OSError, aiohttp.ClientError, TimeoutError):
            return None

    def _url(self, site: QksId) -> str:
        return f"https://localhost:{self._network.ports[site].admin}"

    async def at_rest(self) -> Sequence[Looked]:
        """Return what all sites tell, once all answer and nothing is given out any more."""
        before: list[tuple[Looked, ...]] = []
        while True:
            looks = [await self.look(site) for site in self._network.sites]
            if all(looks) and _spent(looks) == _spent(before):
                return [msgspec.structs.replace(look, final=True) for of_site in looks for look in of_site]
            before = looks
            await asyncio.sleep(_REST_S)


def _spent(looks: Sequence[Sequence[Looked]]) -> list[object]:
    return [
        (look.site, look.peer, one.stream, one.reserved, one.delivered, one.relayed, one.burned)
        for of_site in looks
        for look in of_site
        for one in look.streams
    ]
