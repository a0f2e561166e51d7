"""A client of Admin for asyncio: what changes something at a site."""

from __future__ import annotations

from collections.abc import Mapping

from qss.client.exchange import Exchange
from qss.client.https import HttpsClient
from qss.model.errors import BadRequest, RemoteProtocolError
from qss.model.identifiers import QksId
from qss.model.records import Scope
from qss.model.simulator_settings import SettingsChange, SimulatorSettings
from qss.wire.device import parse_settings, render_change
from qss.wire.recall import parse_recalled, render_recall


class AdminClient(HttpsClient):
    """Asks one site's Admin interface as an administrator, or as the site. Use it as `async with`, or `close` it."""

    async def recall(self, scope: Scope, peer: QksId | None = None) -> Mapping[str, int]:
        """Have keys that were not fetched yet burned, of one link or of all; return the bits burned there, by link.

        Raises `KeyServerRefused`, `KeyServerUnreachable`, `RemoteProtocolError`.
        """
        return await self.exchange(Exchange("POST", "/recall", render_recall(scope, peer), _bits))

    async def adjust_device(self, pair: str, change: SettingsChange) -> SimulatorSettings:
        """Change settings of the simulated device of a pair, by its UUID; return all that it has then. Raises as above.

        `{}` changes none.
        """
        return await self.exchange(Exchange("POST", f"/devices/{pair}", render_change(change), _settings))


def _settings(body: bytes) -> SimulatorSettings:
    try:
        return parse_settings(body)
    except BadRequest:
        raise RemoteProtocolError("the answer is none of Admin: check that the address is Admin's") from None


def _bits(body: bytes) -> Mapping[str, int]:
    try:
        return parse_recalled(body)
    except BadRequest:
        raise RemoteProtocolError("the answer is none of Admin: check that the address is Admin's") from None
