"""A client of a vendor's box or key management entity that offers ETSI GS QKD 014, more or less.

Tolerated: paths of its own, a status with members left out, fewer keys than were asked for, several ways to say that
key is short, and a box that knows only GET; that is found out once, and remembered for as long as this client lives.
Not tolerated: keys of another size than asked for, a key ID twice, key that is no base64, other keys than those of the
IDs.

Nothing is repeated here: when to ask again is the caller's choice. By GET, HTTP itself may repeat a request on a kept
connection that has just ended; then the keys of one answer are lost, and never had twice.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from qss.client.errors import KeyServerRefused
from qss.client.exchange import (
    Exchange,
    ask_keys_with_ids,
    ask_offer,
    ask_some_keys,
    get_key_with_id,
    get_some_keys,
)
from qss.client.https import TIMEOUT_S, HttpsClient
from qss.model.errors import Shortage
from qss.model.identifiers import KeyId, parse_sae_id
from qss.model.keys import Key, KeyIdsRequest, KeyOffer, KeyRequest
from qss.wire.etsi014.paths import PREFIX

_NO_POST = frozenset({405, 501})
"""HTTP: the method is not allowed, or not known."""

_PERHAPS_NO_POST = frozenset({400, 404})
"""How a server may refuse a POST that it has no idea of; or a request that it understood."""

_SHORT = re.compile(r"insufficient|not enough|too few|exhausted|no (more )?keys?\b", re.IGNORECASE)
"""Words for too little key, in answers whose status says something else than the standard's 503."""


class VendorBox(HttpsClient):
    """Asks one box as one SAE, for keys shared with one other. Use it as `async with`, or `close` it."""

    def __init__(
        self,
        base_url: str,
        certificate: Path | str,
        key: Path | str,
        authority: Path | str,
        other_sae: str,
        base_path: str = PREFIX,
        timeout: float = TIMEOUT_S,
    ) -> None:
        """Take what `Client` takes, the SAE at the other end, and what all paths of the box begin with."""
        super().__init__(base_url, certificate, key, authority, timeout)
        self._other = parse_sae_id(other_sae)
        self._prefix = base_path.rstrip("/")
        self._has_post = False
        self._only_get = False

    async def offer(self) -> KeyOffer:
        """Return limits and stock of keys for the other SAE, as its master.

        Raises, as every method does, `KeyServerRefused`, `KeyServerUnreachable`, `RemoteProtocolError`.
        """
        return await self.exchange(ask_offer(self._other, self._prefix))

    async def fresh_keys(self, number: int, size: int | None = None) -> tuple[Key, ...]:
        """Return 1 to `number` fresh keys of `size` bits (None: the box's default) to share with the other SAE.

        Raises `Shortage` if the box has too little key now, in whatever way it says so.
        """
        request = KeyRequest(number, size)

        async def get() -> tuple[Key, ...]:
            return await self.exchange(get_some_keys(self._other, request, self._prefix))

        try:
            keys = await self._post_or_get(ask_some_keys(self._other, request, self._prefix), get)
        except KeyServerRefused as refused:
            if _is_shortage(refused):
                raise Shortage(f"the box has too little key now ({refused})") from None
            raise
        if not keys:
            raise Shortage("the box has too little key now (it answered none)")
        return keys

    async def keys_with_ids(self, key_ids: Sequence[KeyId]) -> tuple[Key, ...]:
        """Return all the keys that the other SAE got under `key_ids`, in their order; by GET one after the other."""

        async def get() -> tuple[Key, ...]:
            keys: list[Key] = []
            for key_id in key_ids:
                keys += await self.exchange(get_key_with_id(self._other, key_id, self._prefix))
            return tuple(keys)

        return await self._post_or_get(ask_keys_with_ids(self._other, KeyIdsRequest(tuple(key_ids)), self._prefix), get)

    async def _post_or_get[T](self, post: Exchange[T], get: Callable[[], Awaitable[T]]) -> T:
        if self._only_get:
            return await get()
        try:
            answer = await self.exchange(post)
        except KeyServerRefused as refused:
            if refused.status in _NO_POST:
                self._only_get = True
                return await get()
            if self._has_post or refused.status not in _PERHAPS_NO_POST:
                raise
            return await self._get_instead(refused, get)
        self._has_post = True
        return answer

    async def _get_instead[T](self, refused: KeyServerRefused, get: Callable[[], Awaitable[T]]) -> T:
        """Find out whether a GET is understood where a POST may not have been."""
        try:
            answer = await get()
        except KeyServerRefused as error:
            if error.status in _PERHAPS_NO_POST | _NO_POST:
                raise refused from None
            self._only_get = True
            raise
        self._only_get = True
        return answer


def _is_shortage(refused: KeyServerRefused) -> bool:
    return refused.status == 503 or (refused.status in _PERHAPS_NO_POST and bool(_SHORT.search(refused.message)))
