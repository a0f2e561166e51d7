"""HTTPS with mutual authentication to one server of ours, for asyncio.

Connections are kept for a few seconds and used again. Refused: plaintext, redirects, answers above a bound. Nothing is
repeated: whether to ask again after a failure is the caller's choice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Self

import aiohttp
from yarl import URL

from qss.client.errors import AnswerTooLarge, KeyServerUnreachable
from qss.client.exchange import Exchange
from qss.model.certificates import PeerCertificate
from qss.model.errors import BadRequest
from qss.pki.contexts import AnotherEndError, application_context, check_other_end

TIMEOUT_S = 30.0
"""How long one request may take, connecting included, if nothing else is said."""

MAX_ANSWER_BYTES = 1 << 24
"""The largest answer that is read: some 12 million bytes of key."""

_KEPT_S = 10.0  # less than any server's idle time, so that none closes a connection just as it is used


class HttpsClient:
    """Asks one server with one certificate. Use it as `async with`, or `close` it."""

    def __init__(
        self,
        base_url: str,
        certificate: Path | str,
        key: Path | str,
        authority: Path | str,
        timeout: float = TIMEOUT_S,
        *,
        check: Callable[[PeerCertificate], None] | None = None,
    ) -> None:
        """Take the key server's address (`https://host:port`) and PEM files; no connection is made yet.

        `authority` is what the key server's certificate must come from; its host name is compared. Where that is not
        enough, because everybody's at that host would do, `check` looks at its names, and raises `Unauthorised`; then
        nothing is asked. Raises `PkiError` for files that cannot be used (a certificate that has expired, for one), and
        `BadRequest` for an address that is none.
        """
        if not _is_https(base_url):
            raise BadRequest(f"{base_url!r} is no address of a key server: use https://host:port")
        self._base = base_url.rstrip("/")
        self._context = application_context(Path(certificate), Path(key), Path(authority))
        if check is not None:
            check_other_end(self._context, check)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connections. Can be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def exchange[T](self, exchange: Exchange[T]) -> T:
        """Send a request and read its answer."""
        try:
            async with asyncio.timeout(self._timeout):
                status, body = await self._send(exchange.method, exchange.path, exchange.body)
        except TimeoutError:
            raise KeyServerUnreachable(
                f"{self._base}: no answer within {self._timeout:g} s; whether keys were reserved is not known"
            ) from None
        except (OSError, aiohttp.ClientError, ValueError) as error:  # ValueError: what the other end showed is no text
            raise KeyServerUnreachable(f"{self._base}: {_reason(error)}") from error
        return exchange.result(status, body)

    async def _send(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        url = URL(self._base + path, encoded=True)  # as it stands: an SAE ID may hold %2F, or be '..'
        async with self._opened().request(
            method, url, data=body or None, headers={"Content-Type": "application/json"}, allow_redirects=False
        ) as answer:
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise AnswerTooLarge(
                        f"the key server's answer exceeds {MAX_ANSWER_BYTES} bytes: ask for fewer keys at a time"
                    )
            return answer.status, bytes(content)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context, keepalive_timeout=_KEPT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session


def _is_https(url: str) -> bool:
    try:
        return url.startswith("https://") and bool(URL(url).host)
    except ValueError:
        return False


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=AnotherEndError() as found):
            return f"another server than was meant: {found}"
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"the key server's certificate is not accepted ({error.certificate_error}); give the authority that it "
                "comes from, and call the server by a name in its certificate"
            )
        case aiohttp.ClientConnectorError():
            return f"cannot connect ({error.os_error}); check the address, and whether the node is running there"
        case ValueError():
            return "what the server showed is malformed, its certificate for one: check that it is a key server"
        case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return "the answer is no well-formed HTTP, or ended early: check that the address is a key server's"
        case _:
            # In TLS 1.3 a server that refuses the client's certificate says so after the client's handshake is done.
            return "the key server broke off; see its log, and whether it accepts this certificate"
