"""The extensions of a 014 request: which way its keys may come, and its priority (ETSI GS QKD 014, clause 6.2).

What is mandatory is met, or the request refused with the standard's message. What is optional is met if it can be, and
else ignored, as the clause allows.
"""

from __future__ import annotations

from dataclasses import replace

from qss.core.keyserver.demands import NOTHING, Demand, strictest
from qss.model.errors import BadRequest, InvalidIdentifier
from qss.model.keys import KeyRequest, Priority
from qss.model.relay_policy import ALLOWED, RelayPolicy

_PREFIX = "qss_"
_DIRECT_ONLY = "direct_only"
_PRIORITY = "priority"
_ALLOWED = {
    _PREFIX + member: words
    for member, words in ({_DIRECT_ONLY: "true", _PRIORITY: " or ".join(Priority)} | dict(ALLOWED)).items()
}
"""The extensions that are known, and what each can be."""

_UNSUPPORTED = "not all extension_mandatory parameters are supported"
_UNMET = "not all extension_mandatory request options could be met"


def demanded(request: KeyRequest) -> Demand:
    """Return what the mandatory extensions demand. Raises `BadRequest` if one is not known, or has another value."""
    unknown = [name for name, _ in request.extension_mandatory if name not in _ALLOWED]
    if unknown:
        raise BadRequest(
            _UNSUPPORTED, [{"extension_mandatory_unsupported": f"{name} is not supported"} for name in unknown]
        )
    read = [(name, _read(name, value)) for name, value in request.extension_mandatory]
    wrong = [f"{name} can only be {_ALLOWED[name]}" for name, demand in read if demand is None]
    if wrong:
        raise unmet(*wrong)
    return strictest(*(demand for _, demand in read if demand is not None))


def wished(request: KeyRequest) -> tuple[Demand, ...]:
    """Return what each of the optional extensions that are known, and have a value that they can have, wishes.

    Of one that is given more than once the last counts, as of a JSON member.
    """
    read = [_read(name, value) for name, value in dict(request.extension_optional).items()]
    return tuple(demand for demand in read if demand is not None)


def priority_of(request: KeyRequest, highest: Priority) -> Priority:
    """Return a request's priority: what it asks for, or else `highest`, which is the highest that it can have.

    Raises `BadRequest` if a mandatory extension asks for more; an optional one that does is ignored. What each can be
    was looked at before (`demanded`).
    """
    name = name_of(_PRIORITY)
    must = [Priority(value) for each, value in request.extension_mandatory if each == name and isinstance(value, str)]
    if any(priority.rank > highest.rank for priority in must):
        raise unmet(f"{name}: the rules give requests of this pair {highest} at most")
    wish = dict(request.extension_optional).get(name)
    may = [Priority(wish)] if isinstance(wish, str) and wish in Priority else []
    return min((*must, *may, highest), key=lambda priority: priority.rank)


def unmet(*details: str) -> BadRequest:
    """Return the refusal of what is known, and cannot be met; `details` begin with the extension's name."""
    return BadRequest(_UNMET, [{"extension_mandatory_unmet": detail} for detail in details])


def name_of(member: str) -> str:
    """Return the name of the extension that demands this member of a demand."""
    return _PREFIX + member


def _read(name: str, value: object) -> Demand | None:
    """Return what one extension demands; None if it is not known, or has another value."""
    if name not in _ALLOWED:
        return None
    member = name.removeprefix(_PREFIX)
    if member == _DIRECT_ONLY:
        return Demand(direct_only=True) if value is True else None
    if member == _PRIORITY:
        return NOTHING if isinstance(value, str) and value in Priority else None
    try:
        policy = RelayPolicy.from_members({member: value})
    except InvalidIdentifier:
        return None
    return replace(NOTHING, **{member: getattr(policy, member)})
