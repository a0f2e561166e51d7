"""What is asked of relayed key: which paths and combinations will do, and the text that says so (Relay 6.1).

Not here: whether a network has such paths (`core.keyserver.relay_paths`), nor whose demands make a policy
(`core.keyserver.demands`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Self

from qss.model.errors import InvalidIdentifier
from qss.model.identifiers import QksId, parse_qks_id

MAX_AVOIDED = 16
"""Sites that one policy can avoid."""

MAX_DISJOINT_PATHS = 8
"""Paths that one block's shares can come over."""

MAX_HOPS = 16
"""Links on the longest path."""

MAX_TEXT_BYTES = 1024
"""Size of the longest text."""


class Hop(StrEnum):
    """How what is relayed is covered on each link of its path (Relay 5)."""

    ONE_TIME_PAD = "one-time-pad"
    AES_256_GCM = "aes-256-gcm"


class Hybrid(StrEnum):
    """What a block is combined with besides (Relay 6.3)."""

    ML_KEM_768 = "ml-kem-768"


ALLOWED: Mapping[str, str] = {
    "avoid": f"a list of at most {MAX_AVOIDED} names of sites",
    "disjoint_paths": f"a whole number from 1 to {MAX_DISJOINT_PATHS}",
    "hop": " or ".join(Hop),
    "hybrid": " or ".join(Hybrid),
    "max_hops": f"a whole number from 1 to {MAX_HOPS}",
}
"""What each member can be, in words."""


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """What the paths and blocks of one end-to-end key stream are like; without arguments, the plain policy.

    Raises `InvalidIdentifier` if a member is out of its range, or the names to avoid make the text too long.
    """

    avoid: frozenset[QksId] = frozenset()
    """Sites that no path may lead through."""
    disjoint_paths: int = 1
    """So many paths that share no repeater, a share over each."""
    hop: Hop = Hop.ONE_TIME_PAD
    hybrid: Hybrid | None = None
    max_hops: int = MAX_HOPS
    """Links on a path, at most."""
    text: str = field(init=False, compare=False, repr=False)
    """The policy as JSON, in ASCII and in the one form that it has (Relay 6.1)."""

    def __post_init__(self) -> None:
        if len(self.avoid) > MAX_AVOIDED:
            raise _refusal("avoid")
        if not 1 <= self.disjoint_paths <= MAX_DISJOINT_PATHS:
            raise _refusal("disjoint_paths")
        if not 1 <= self.max_hops <= MAX_HOPS:
            raise _refusal("max_hops")
        object.__setattr__(self, "text", self._as_text())  # once: it is looked at for each block, and each request
        if len(self.text) > MAX_TEXT_BYTES:
            raise InvalidIdentifier(f"a relay policy has a text of at most {MAX_TEXT_BYTES} bytes: avoid fewer sites")

    def _as_text(self) -> str:
        members = ((each, getattr(self, each.name)) for each in fields(self) if each.init)
        said = {each.name: value for each, value in members if value != each.default}
        if self.avoid:
            said["avoid"] = sorted(self.avoid)
        return json.dumps(said, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `text` makes, and no other text that would mean the same. Raises `InvalidIdentifier`."""
        try:
            members = json.loads(text) if len(text) <= MAX_TEXT_BYTES else None
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict):
            raise InvalidIdentifier(f"a relay policy's text is a JSON object of at most {MAX_TEXT_BYTES} bytes")
        policy = cls.from_members(members)
        if policy.text != text:
            raise InvalidIdentifier("a relay policy's text has its members in order, no spaces, and no defaults")
        return policy

    @classmethod
    def from_members(cls, members: Mapping[str, object]) -> Self:
        """Return the policy with these members, as JSON has them; others have their defaults.

        Raises `InvalidIdentifier`, naming the member.
        """
        if not members.keys() <= ALLOWED.keys():
            raise InvalidIdentifier("a relay policy has " + ", ".join(ALLOWED) + ", and nothing else")
        return cls(
            _sites("avoid", members.get("avoid", [])),
            _number("disjoint_paths", members.get("disjoint_paths", 1)),
            _one_of(Hop, "hop", members.get("hop", Hop.ONE_TIME_PAD)),
            _one_of(Hybrid, "hybrid", members["hybrid"]) if "hybrid" in members else None,
            _number("max_hops", members.get("max_hops", MAX_HOPS)),
        )


def _sites(member: str, value: object) -> frozenset[QksId]:
    if not isinstance(value, list) or not all(isinstance(site, str) for site in value):
        raise _refusal(member)
    return frozenset(map(parse_qks_id, value))


def _number(member: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refusal(member)
    return value


def _one_of[E: StrEnum](kind: type[E], member: str, value: object) -> E:
    if not isinstance(value, str) or value not in kind:
        raise _refusal(member)
    return kind(value)


def _refusal(member: str) -> InvalidIdentifier:
    return InvalidIdentifier(f"{member} of a relay policy can only be {ALLOWED[member]}")
