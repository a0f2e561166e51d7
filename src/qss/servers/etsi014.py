"""ETSI GS QKD 014 V1.1.1: routes requests, checks their form, asks the key server, renders its answer.

Comments number the steps of `docs/reference/northbound.md`, section 2. The caller is who its certificate says, never
who a path or body says. Held here: steps 1 to 4, and the status of every refusal. Not here: who may share keys with
whom, limits, extensions and whether a key exists; those are the key server's, behind `KeyService`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import structlog

from qss.model.errors import BadRequest, RuleUnmet, Unauthorised, Unavailable
from qss.model.identifiers import SaeId
from qss.model.keys import Key, KeyIdsRequest, KeyRequest, PairStatus
from qss.ports.identity import Identity
from qss.servers.counts import NO_METHOD, RequestCounts
from qss.servers.messages import JSON, Request, Response, error_response
from qss.transport.telling import Telling
from qss.wire.etsi014.answers import render_keys, render_status
from qss.wire.etsi014.naming import agreed, parse_header
from qss.wire.etsi014.paths import Method, parse_path, parse_segment
from qss.wire.etsi014.questions import (
    parse_key_ids,
    parse_key_ids_query,
    parse_key_request,
    parse_key_request_query,
)

_VERBS = {Method.STATUS: ("GET",), Method.ENC_KEYS: ("GET", "POST"), Method.DEC_KEYS: ("GET", "POST")}

_log = structlog.get_logger(__name__)


class KeyService(Protocol):
    """What the handlers ask of a key server. It raises `BadRequest`, `Unauthorised` and `Unavailable`.

    A refusal has changed nothing. Whoever awaits may be cancelled: then nobody gets the keys.
    """

    def get_status(self, caller: SaeId, slave: SaeId) -> PairStatus:
        """Return what can be served to the pair now."""
        ...

    async def get_key(self, caller: SaeId, slave: SaeId, request: KeyRequest) -> tuple[Key, ...]:
        """Return `request.number` fresh keys."""
        ...

    async def get_key_with_ids(self, caller: SaeId, master: SaeId, request: KeyIdsRequest) -> tuple[Key, ...]:
        """Return the keys of these IDs, in their order."""
        ...


class Etsi014:
    """The handler behind the northbound listener, whose TLS context demands the client's certificate."""

    def __init__(self, service: KeyService, identity: Identity, counts: RequestCounts) -> None:
        self._service = service
        self._identity = identity
        self._counts = counts
        self._telling = Telling()

    async def __call__(self, request: Request) -> Response:
        """Answer one request with status 200, 400, 401 or 503 (clause 5, tables 4, 6 and 8)."""
        method, caller = NO_METHOD, None
        try:
            caller = self._caller(request)  # step 1
            segment, method = parse_path(request.path)  # step 2
            response = Response(200, JSON, await self._serve(request, caller, segment, Method(method)))
        except BadRequest as error:
            if isinstance(error, RuleUnmet):
                self._tell_of_rule(method, caller, error)
            response = error_response(400, error.message, error.details)
        except Unauthorised as error:
            _log.warning("refused", method=str(method), caller=caller, reason=str(error))
            response = Response(401)
        except Unavailable as error:
            _log.info("not served", method=str(method), caller=caller, error=type(error).__name__, reason=str(error))
            response = error_response(503, str(error))
        self._counts.add(str(method), response.status)
        return response

    def _tell_of_rule(self, method: str, caller: SaeId | None, error: RuleUnmet) -> None:
        """An application is out of keys for what this site's operator has demanded, and only they can see to it."""
        self._counts.rule_unmet += 1
        if (unsaid := self._telling.unsaid((caller, error.site, error.slaves))) is not None:
            _log.warning(
                "keys are refused because no way is as a rule here demands",
                method=str(method),
                caller=caller,
                slaves=error.slaves,
                peer=error.site,
                missing=error.missing,
                remedy="see which links are up (`qss route show`), or demand less in the relay of [[pairs]]",
                unsaid=unsaid,
            )

    def _caller(self, request: Request) -> SaeId:
        if request.identity is None:
            raise Unauthorised("the caller showed no certificate")
        return self._identity.sae(request.identity)

    async def _serve(self, request: Request, caller: SaeId, segment: str, method: Method) -> bytes:
        if request.method not in _VERBS[method]:  # step 2
            raise BadRequest(f"{method} takes {' or '.join(_VERBS[method])}, nothing else")
        partner = parse_segment(segment)  # step 3
        if partner == caller:
            raise BadRequest("the SAE ID in the path is the caller's own: name the SAE to share keys with")
        posted, name = request.method == "POST", parse_header(request.headers)  # step 4
        match method:
            case Method.STATUS:
                return render_status(self._service.get_status(caller, partner))
            case Method.ENC_KEYS:
                ask = (  # step 4
                    parse_key_request(request.body, caller, partner)
                    if posted
                    else parse_key_request_query(request.query)
                )
                ask = replace(ask, name=agreed(name, ask.name))
                return render_keys(await self._service.get_key(caller, partner, ask))
            case Method.DEC_KEYS:
                wanted = parse_key_ids(request.body) if posted else parse_key_ids_query(request.query)  # step 4
                wanted = replace(wanted, name=agreed(name, wanted.name))
                return render_keys(await self._service.get_key_with_ids(caller, partner, wanted))
