"""What the Admin interface of a site does with SAEs: shows which are at home there, registers and removes them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

import structlog

from qss.model.errors import Unavailable
from qss.model.identifiers import QksId, SaeId
from qss.servers.admin_door import Action
from qss.servers.messages import JSON, Response
from qss.wire.saes import SaeView, parse_addition, parse_removal, render_removed, render_saes

SAES_PATH = "/saes"
ADD_PATH = "/saes/add"
REMOVE_PATH = "/saes/remove"

_log = structlog.get_logger(__name__)


class SaeService(Protocol):
    """What a site does with its SAEs."""

    def saes(self) -> tuple[SaeView, ...]:
        """Return what is at home here."""
        ...

    async def add(self, sae: SaeId, statement: bytes | None) -> None:
        """Have an SAE at home here. Raises `BadRequest`, `Unavailable`, and then nothing has changed."""
        ...

    async def remove(self, sae: SaeId) -> Mapping[QksId, int]:
        """Have an SAE at home here no more; return the bits burned here, by link.

        Raises `BadRequest`, `Unavailable`.
        """
        ...


def sae_actions(service: SaeService) -> Mapping[str, Action]:
    """Return the actions by their paths."""
    return {ADD_PATH: partial(_add, service), REMOVE_PATH: partial(_remove, service)}


async def _add(service: SaeService, who: str, _: str, body: bytes) -> Response:
    sae, statement = parse_addition(body)
    await service.add(sae, statement)
    _log.warning("an SAE was registered", audit=True, by=who, sae=sae, stated=statement is not None)
    return Response(200, JSON, render_saes([view for view in service.saes() if view.id == sae]))


async def _remove(service: SaeService, who: str, _: str, body: bytes) -> Response:
    sae = parse_removal(body)
    try:
        bits = await service.remove(sae)
    except Unavailable as error:
        _log.warning("an SAE is to be removed, and that is not done", audit=True, by=who, sae=sae, reason=str(error))
        raise
    _log.warning("an SAE was removed", audit=True, by=who, sae=sae, burned_bits=dict(bits))
    return Response(200, JSON, render_removed(bits))
