"""A client of Admin for asyncio: what a site says of itself, and what changes something there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from qss.client.exchange import Exchange
from qss.client.https import HttpsClient
from qss.model.errors import BadRequest, RemoteProtocolError
from qss.model.identifiers import PairId, QksId, SaeId
from qss.model.network import Load, SiteState
from qss.model.records import Scope
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.wire.device import parse_settings, render_change
from qss.wire.exchange import parse_exchange, render_exchange
from qss.wire.recall import parse_recalled, render_recall
from qss.wire.routes import LsaView, RoutingStatus, parse_lsas, parse_routing
from qss.wire.saes import SaeView, parse_removed, parse_saes, render_addition, render_removal
from qss.wire.site_state import parse_taken, render_links, render_state, render_wait
from qss.wire.status import SiteStatus, parse_site_status


class AdminClient(HttpsClient):
    """Asks one site's Admin interface as an administrator, or as the site. Use it as `async with`, or `close` it."""

    async def recall(self, scope: Scope, peer: QksId | None = None) -> Mapping[str, int]:
        """Have keys that were not fetched yet burned, of one link or of all; return the bits burned there, by link.

        Raises `KeyServerRefused`, `KeyServerUnreachable`, `RemoteProtocolError`.
        """
        return await self.exchange(
            Exchange("POST", "/recall", render_recall(scope, peer), partial(_read, parse_recalled))
        )

    async def status(self) -> SiteStatus:
        """Return what the site says of itself. Raises as `recall` does."""
        return await self.exchange(Exchange("GET", "/status", b"", partial(_read, parse_site_status)))

    async def routing(self) -> RoutingStatus:
        """Return what the site knows of the network. Raises as `recall` does."""
        return await self.exchange(Exchange("GET", "/routing", b"", parse_routing))

    async def lsas(self) -> tuple[LsaView, ...]:
        """Return the site's link state database. Raises as `recall` does."""
        return await self.exchange(Exchange("GET", "/routing/lsas", b"", parse_lsas))

    async def publish(self, state: SiteState, revision: int) -> bool:
        """Tell a routing module how its site is, SAEs and homes being `revision`; return True. Raises as `recall`."""
        return await self.exchange(Exchange("POST", "/routing/publish", render_state(state, revision), parse_taken))

    async def publish_links(self, links: Mapping[QksId, Load], revision: int) -> bool:
        """Tell a routing module how links are, the rest still being `revision`; return whether it knows that revision.

        If not, it has taken nothing: `publish`. Raises as `recall` does.
        """
        return await self.exchange(Exchange("POST", "/routing/publish", render_links(links, revision), parse_taken))

    async def routing_after(self, version: int, wait_s: float) -> RoutingStatus:
        """Return what the site knows of the network once that has another version, or after `wait_s` (at most 20 s).

        Raises as `recall` does.
        """
        question = render_wait(version, wait_s)
        return await self.exchange(Exchange("POST", "/routing/wait", question, parse_routing))

    async def saes(self) -> tuple[SaeView, ...]:
        """Return what is at home at the site. Raises as `recall` does."""
        return await self.exchange(Exchange("GET", "/saes", b"", parse_saes))

    async def add_sae(self, sae: SaeId, statement: bytes | None = None) -> tuple[SaeView, ...]:
        """Have an SAE at home at the site; return it as it is there. Raises as `recall` does."""
        question = render_addition(sae, statement)
        return await self.exchange(Exchange("POST", "/saes/add", question, parse_saes))

    async def remove_sae(self, sae: SaeId) -> Mapping[str, int]:
        """Have an SAE at home at the site no more; return the bits burned there, by link. Raises as `recall` does."""
        return await self.exchange(Exchange("POST", "/saes/remove", render_removal(sae), parse_removed))

    async def set_exchange(self, pair: PairId, *, on: bool) -> None:
        """Start or stop the exchange of a device pair of that site. Raises as `recall` does."""
        question = render_exchange(pair, on=on)
        await self.exchange(Exchange("POST", "/exchange", question, partial(_read, parse_exchange)))

    async def adjust_device(self, pair: str, change: SettingsChange) -> SimulatorSettings:
        """Change settings of the simulated device of a pair, by its UUID; return all that it has then. Raises as above.

        `{}` changes none.
        """
        return await self.exchange(
            Exchange("POST", f"/devices/{pair}", render_change(change), partial(_read, parse_settings))
        )


def _read[T](parse: Callable[[bytes], T], body: bytes) -> T:
    try:
        return parse(body)
    except BadRequest:
        raise RemoteProtocolError("the answer is none of Admin: check that the address is Admin's") from None
