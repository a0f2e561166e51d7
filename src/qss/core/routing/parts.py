"""In which of its LSAs a site tells of which SAE (Routing 3.1): each stays where it is, and one that comes goes where
there is room.

So one SAE that comes or goes changes one LSA; one that makes room for another that had none, two. No rule puts an SAE
into a part by its ID: whoever chooses IDs could fill one part while others are empty. Held here: parts and their room.
Not here: versions of LSAs, and when they are told (`origination`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qss.wire.routing import MAX_NEIGHBOURS, MAX_PARTS, SaeState, is_readable

SAES_BYTES = 48 * 1024
"""Most bytes of SAEs in one LSA: the rest of it, and MessagePack, need room as well."""


class _Part:
    """What one LSA tells."""

    def __init__(self) -> None:
        self.saes: dict[str, SaeState] = {}
        self._room = SAES_BYTES

    def has_room(self, sae: SaeState) -> bool:
        return self._room >= _size(sae) and len(self.saes) < MAX_NEIGHBOURS

    def add(self, sae: SaeState) -> None:
        self.saes[sae.sae] = sae
        self._room -= _size(sae)

    def remove(self, sae: str) -> None:
        self._room += _size(self.saes.pop(sae))


class Parts:
    """The SAEs of one site, part by part."""

    def __init__(self) -> None:
        """Begin with none, told in one part."""
        self.untold: tuple[str, ...] = ()
        """SAEs that no LSA can tell of, because there is no room, or others could not read it; in order."""
        self._parts = [_Part()]
        self._places: dict[str, _Part] = {}

    def __iter__(self) -> Iterator[tuple[int, tuple[SaeState, ...]]]:
        """Yield the number of each part that is told, and its SAEs in order. The first is told whatever is in it."""
        for number, part in enumerate(self._parts):
            if part.saes or number == 0:
                yield number, tuple(part.saes[sae] for sae in sorted(part.saes))

    def set(self, saes: Iterable[SaeState]) -> None:
        """Tell of these from now on."""
        wanted = {sae.sae: sae for sae in saes}
        for name, part in list(self._places.items()):
            if wanted.get(name) != part.saes[name]:
                part.remove(name)
                if name not in wanted or not self._put(wanted[name], part):  # where it was, if it still fits
                    del self._places[name]
        self.untold = tuple(
            name for name in sorted(wanted) if name not in self._places and not self._place(wanted[name])
        )

    def _place(self, sae: SaeState) -> bool:
        return any(self._put(sae, part) for part in self._parts) or (self._begin_a_part() and self._place(sae))

    def _put(self, sae: SaeState, part: _Part) -> bool:
        if not part.has_room(sae) or not is_readable(sae):
            return False
        part.add(sae)
        self._places[sae.sae] = part
        return True

    def _begin_a_part(self) -> bool:
        if len(self._parts) == MAX_PARTS or not self._parts[-1].saes:
            return False  # it fits into none
        self._parts.append(_Part())
        return True


def _size(sae: SaeState) -> int:
    return len(sae.sae) + len(sae.statement or b"") + 8
