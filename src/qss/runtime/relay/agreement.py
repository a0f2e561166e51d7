"""What the two ends of a hybrid stream agree on by ML-KEM-768, block by block, and combine each block with (Relay 6.3).

Both sign what they say, under their certificates: TLS between them rests on the same, but a signature over one block
and its transfers says so of this block alone. Not here: the KEM itself (`crypto.hybrid`), nor the device that uses
this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qss.crypto.hybrid import SEED_BYTES, decapsulate, encapsulate, mask, new_key
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import PairId, QksId
from qss.model.key_material import KeyMaterial
from qss.ports.device import DeviceChannel
from qss.wire.lsa import Authentication
from qss.wire.relay_device import Answer, Offer, decode, encode
from qss.wire.relay_hybrid import Role, transcript

Sign = Callable[[bytes], Authentication]
"""Signs as this site."""

Verify = Callable[[QksId, bytes, Authentication], None]
"""Raises `Unauthorised` unless the site has signed these bytes."""


class Agreement:
    """One end of a stream's agreements."""

    def __init__(self, peer: QksId, pair: PairId, sign: Sign, verify: Verify, entropy: Callable[[int], bytes]) -> None:
        """Agree with `peer` on blocks of the stream of this pair; `entropy` gives secret bytes."""
        self._peer = peer
        self._pair = pair
        self._sign = sign
        self._verify = verify
        self._entropy = entropy

    async def offer(self, channel: DeviceChannel, number: int, length: int, transfers: Sequence[bytes]) -> KeyMaterial:
        """Tell of a block, with a fresh key; return what it is combined with. Raises `Unauthorised`."""
        private, ek = new_key(KeyMaterial(self._entropy(SEED_BYTES)))
        said = transcript(Role.SOURCE, self._pair, number, length, transfers, ek)
        await channel.send(encode(Offer(number, length, tuple(transfers), ek, self._sign(said))))
        answer = decode(await channel.receive(), Answer)
        if answer.number != number:
            raise RemoteProtocolError(f"an answer for block {answer.number} came, where block {number} was offered")
        ct = answer.ciphertext
        said = transcript(Role.DESTINATION, self._pair, number, length, transfers, ek, ct)
        self._verify(self._peer, said, answer.authentication)
        both = transcript(Role.BOTH, self._pair, number, length, transfers, ek, ct)
        return mask(decapsulate(private, ct), ek, ct, both, length)

    async def answer(self, channel: DeviceChannel, offer: Offer) -> KeyMaterial:
        """Answer an offer; return what its block is combined with. Raises `Unauthorised`."""
        number, length, transfers, ek = offer.number, offer.length, offer.transfers, offer.encapsulation_key
        said = transcript(Role.SOURCE, self._pair, number, length, transfers, ek)
        self._verify(self._peer, said, offer.authentication)
        secret, ct = encapsulate(ek)
        said = transcript(Role.DESTINATION, self._pair, number, length, transfers, ek, ct)
        await channel.send(encode(Answer(number, ct, self._sign(said))))
        both = transcript(Role.BOTH, self._pair, number, length, transfers, ek, ct)
        return mask(secret, ek, ct, both, length)
