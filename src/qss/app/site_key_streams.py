"""What of a site has to do with key streams of its applications, as its node composes it: listener, calls, key.

Without `[key_streams]` in the configuration there is none of it: nobody listens, and other sites find no such path.
Not here: what calls are answered (`runtime.key_streams`).
"""

from __future__ import annotations

import ssl

from qss.app.catalogue import identity_of
from qss.app.connecting import KEY_STREAMS_PATH, listening_as
from qss.app.far_calls import FarCalls
from qss.app.listener_tables import KeyStreams as KeyStreamsTable
from qss.app.site_tables import SiteConfiguration
from qss.core.keyserver.requests import RequestPlanner
from qss.core.keyserver.stream_parties import StreamPlan
from qss.model.addresses import Address
from qss.model.identifiers import QksId
from qss.model.records import Scope
from qss.runtime.key_server import KeyServer
from qss.runtime.key_streams.pair_keys import PairKeys
from qss.runtime.key_streams.streams import COUNTED, KeyStreams
from qss.runtime.site import Site
from qss.servers.counts import CallCounts
from qss.servers.etsi004 import Etsi004Limits, Etsi004Server
from qss.transport.listening import Listener, Route
from qss.wire import stream_meeting
from qss.wire.status import KeyStreamsState

OF_ONE = 32
"""Connections of one application: it may have 16 streams, each with a connection of its own, and one at a time more."""


class SiteKeyStreams:
    """The key streams of one site, from `start` to `stop`."""

    def __init__(
        self,
        configuration: SiteConfiguration,
        table: KeyStreamsTable,
        context: ssl.SSLContext,
        planner: RequestPlanner,
        key_server: KeyServer,
        site: Site,
        calls: FarCalls,
    ) -> None:
        """Applications are served under `context`, other sites reached by `calls`."""
        limits, identity = configuration.northbound.key_limits(), identity_of(configuration.northbound.identity)

        def keys(plan: StreamPlan) -> PairKeys:
            return PairKeys(plan, key_server, site.links, limits)

        self._streams = KeyStreams(configuration.site.id, planner.plan_stream, keys, calls.key_streams, site.fail)
        self._listener: Listener | None = None
        self.counts = CallCounts()
        """What calls were answered, for the metrics."""
        self._server = Etsi004Server(
            table.listen.host,
            table.listen.port,
            context,
            lambda: self._streams,
            identity.sae,
            self.counts,
            limits=Etsi004Limits(max_connections=table.max_connections, max_of_one=OF_ONE),
        )

    @property
    def address(self) -> Address:
        """Where applications call."""
        return Address(*self._server.address)

    async def start(self, listener: Listener) -> None:
        """Begin to serve applications, and other sites at `listener`. Raises `ListenError`."""
        with listening_as("key_streams.listen"):
            await self._server.start()
        route = Route((stream_meeting.SUBPROTOCOL,), self._streams.take, stream_meeting.MAX_FRAME_BYTES)
        self._listener = listener
        listener.offer(KEY_STREAMS_PATH, route)

    async def stop(self) -> None:
        """End all streams, and answer nobody any more. Can be called twice, and before the start."""
        if self._listener is not None:
            self._listener.withdraw(KEY_STREAMS_PATH)
        await self._server.close()
        self._streams.stop()
        await self._streams.stopped()

    def recall(self, scope: Scope, peer: QksId | None) -> None:
        """End the streams that a recall concerns: of an SAE, or all with a site. Single keys of one are not known."""
        if not scope.key_ids:
            self._streams.recall(scope.sae, peer)

    def state(self) -> KeyStreamsState:
        """Return what administrators see."""
        counts = self._streams.counts()
        return KeyStreamsState(open=self._streams.open, bits={outcome: 8 * counts[outcome] for outcome in COUNTED})
