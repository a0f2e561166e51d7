"""A client of ETSI GS QKD 014 for asyncio.

Nothing is repeated: whether to ask again after a failure is the application's choice, because it may cost key. Under an
idempotency name it costs none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qss.client.exchange import ask_keys, ask_keys_with_ids, ask_status
from qss.client.https import HttpsClient
from qss.model.identifiers import KeyId, parse_sae_id
from qss.model.keys import Key, KeyIdsRequest, KeyRequest, PairStatus


class Client(HttpsClient):
    """Asks one key server as one SAE. Use it as `async with`, or `close` it."""

    async def status(self, slave: str) -> PairStatus:
        """Return what the key server can serve for keys shared with `slave`.

        Raises, as every method does, `KeyServerRefused`, `KeyServerUnreachable`, `RemoteProtocolError`, and
        `BadRequest` for a question that cannot be asked.
        """
        return await self.exchange(ask_status(parse_sae_id(slave)))

    async def get_keys(
        self,
        slave: str,
        number: int = 1,
        size: int | None = None,
        additional_slaves: Iterable[str] = (),
        extension_mandatory: Sequence[tuple[str, object]] = (),
        extension_optional: Sequence[tuple[str, object]] = (),
        name: str | None = None,
    ) -> tuple[Key, ...]:
        """Return `number` fresh keys of `size` bits (None: the server's default) to share with `slave`.

        Every SAE of `additional_slaves` can fetch the same keys. Extensions are (name, value) pairs; values are JSON.
        `name` is an idempotency name: asked again under it, a qss key server gives the same keys, for as long as it is
        configured to. So a lost answer is no lost key.
        """
        request = KeyRequest(
            number,
            size,
            tuple(parse_sae_id(name) for name in additional_slaves),
            tuple(extension_mandatory),
            tuple(extension_optional),
            name,
        )
        return await self.exchange(ask_keys(parse_sae_id(slave), request))

    async def get_keys_with_ids(
        self, master: str, key_ids: Iterable[KeyId], name: str | None = None
    ) -> tuple[Key, ...]:
        """Return the keys that `master` got under `key_ids`, in their order. Each can be had once.

        `name` is an idempotency name, as in `get_keys`.
        """
        return await self.exchange(ask_keys_with_ids(parse_sae_id(master), KeyIdsRequest(tuple(key_ids), name)))
