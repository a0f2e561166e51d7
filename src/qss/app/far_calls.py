"""How a site and others, neighbours or not, reach each other: TLS connections to where their LSAs say they are.

Not here: when there is to be a connection, and who dials (`far_streams`).
"""

from __future__ import annotations

import ssl

from qss.app.connecting import EXTERNAL_PATH, KEY_STREAMS_PATH, Spoken, sync_path, sync_route
from qss.model.errors import ConnectionLost, NothingThere
from qss.model.identifiers import PairId, QksId
from qss.ports.routing_table import RoutingTable
from qss.runtime.connecting import call_peer
from qss.runtime.module import QkdModule
from qss.transport.connection import Connection
from qss.transport.listening import Listener
from qss.wire import external, stream_meeting, sync


class FarCalls:
    """Implements `qss.app.far_streams.Calls`."""

    def __init__(self, table: RoutingTable, context: ssl.SSLContext, listener: Listener) -> None:
        """Call by `context` where `table` knows sites, and take Sync at `listener`."""
        self._table = table
        self._context = context
        self._listener = listener

    async def external(self, peer: QksId) -> Connection:
        """As `Calls.external`."""
        return await self._call(peer, EXTERNAL_PATH, external)

    async def key_streams(self, peer: QksId) -> Connection:
        """Return a connection by which a key stream can be brought to a site. Raises as `Calls.external`."""
        return await self._call(peer, KEY_STREAMS_PATH, stream_meeting)

    async def sync(self, peer: QksId, pair: PairId) -> Connection:
        """As `Calls.sync`."""
        try:
            return await self._call(peer, sync_path(pair), sync)
        except NothingThere as error:  # its path is computed, so no UUID can be wrong
            raise NothingThere(
                f"site {peer} takes no part in this end-to-end stream (pair {pair}): its log says why, such as that it "
                "has as many as may be"
            ) from error

    def offer_sync(self, peer: QksId, pair: PairId, module: QkdModule) -> None:
        """As `Calls.offer_sync`."""
        self._listener.offer(sync_path(pair), sync_route(peer, module))

    def withdraw_sync(self, pair: PairId) -> None:
        """As `Calls.withdraw_sync`."""
        self._listener.withdraw(sync_path(pair))

    async def _call(self, peer: QksId, path: str, protocol: Spoken) -> Connection:
        address = self._table.graph.externals.get(peer)
        if address is None:
            raise ConnectionLost(
                f"routing does not know where site {peer} is: no link of it is up, or nobody on the way is heard "
                "(`qss route show`)"
            )
        url = f"wss://{address}{path}"
        return await call_peer(peer, url, self._context, protocol.SUBPROTOCOL, protocol.MAX_FRAME_BYTES)
