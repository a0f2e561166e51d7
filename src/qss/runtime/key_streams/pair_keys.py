"""Key for the stream of two SAEs: reserved as a master of ETSI GS QKD 014 does, fetched as its slave does.

Rules, quotas, ways and both ends' stores are the key server's. Looked at here is what the key is: through how many
repeaters it has passed, and that none of it was under AES on its way. That is known from this end's own ledger: what
the other end says of a reservation is its name alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.keyserver.stream_supply import MAX_RESERVED_BYTES, cut
from qss.model.errors import DeviceError
from qss.model.identifiers import QksId, ReservationId
from qss.model.key_material import KeyMaterial
from qss.model.keys import Key, KeyIdsRequest, KeyLimits, KeyRequest
from qss.model.records import ReservationRecord, Side, StreamRecord
from qss.model.relay_policy import Hop, RelayPolicy
from qss.runtime.key_server import KeyServer
from qss.runtime.link import LinkRunner

_ONE_TIME_PADS = (("qss_hop", str(Hop.ONE_TIME_PAD)),)


@dataclass(frozen=True, slots=True)
class Reserved:
    """All keys of one reservation, one after the other."""

    reservation: ReservationId
    count: int
    material: KeyMaterial
    repeaters: int
    """None of it has passed through more."""


class PairKeys:
    """What `plan`'s SAE of this site shares with the other one."""

    def __init__(
        self, plan: StreamPlan, key_server: KeyServer, links: Mapping[QksId, LinkRunner], limits: KeyLimits
    ) -> None:
        self._plan = plan
        self._key_server = key_server
        self._links = links
        self._limits = limits

    async def reserve(self, length: int) -> Reserved:
        """Reserve about `length` bytes, as this site's SAE.

        Raises as `KeyServer.get_key`, and `DeviceError` if they were recalled at once.
        """
        plan, made = self._plan, cut(length, self._limits)
        request = KeyRequest(made.count, 8 * made.key_bytes, extension_mandatory=_ONE_TIME_PADS)
        keys = await self._key_server.get_key(plan.sae, plan.other, request)
        reservation = keys[0].key_id.reservation
        assert reservation is not None  # the key server made it
        return self._whole(reservation, keys, self._looked_up(reservation, Side.MASTER)[1])

    async def fetch(self, reservation: ReservationId, count: int) -> Reserved:
        """Fetch all keys of a reservation that the other SAE made for this one.

        Raises as `KeyServer.get_key_with_ids`, and `DeviceError` if they are not for this stream: nothing was fetched.
        """
        row, stream = self._looked_up(reservation, Side.SLAVE)
        if (row.master, row.slaves, row.count) != (self._plan.other, (self._plan.sae,), count):
            raise DeviceError(f"reservation {reservation} is not for this stream, or not of {count} keys")
        if row.count * row.key_bytes > MAX_RESERVED_BYTES:
            raise DeviceError(f"reservation {reservation} has more than {MAX_RESERVED_BYTES} bytes")
        request = KeyIdsRequest(tuple(map(reservation.key_id, range(count))))
        keys = await self._key_server.get_key_with_ids(self._plan.sae, self._plan.other, request)
        return self._whole(reservation, keys, stream)

    def _looked_up(self, reservation: ReservationId, side: Side) -> tuple[ReservationRecord, StreamRecord]:
        link = self._links.get(self._plan.peer)
        found = None if link is None else link.core.rows_of(reservation)
        if found is None or found[0].side is not side:
            raise DeviceError(f"reservation {reservation} is not here: it was recalled or has expired, or never was")
        policy = found[1].policy
        if policy and RelayPolicy.from_text(policy).hop is not Hop.ONE_TIME_PAD:
            raise DeviceError(
                f"reservation {reservation} is of key that was relayed under AES, which no stream is made of: have the "
                'rules of both sites leave hop out, or say hop = "one-time-pad"'
            )
        return found

    def _whole(self, reservation: ReservationId, keys: Sequence[Key], stream: StreamRecord) -> Reserved:
        material = KeyMaterial(b"".join(key.material.reveal() for key in keys))
        return Reserved(reservation, len(keys), material, stream.repeaters)
