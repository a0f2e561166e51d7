"""What a node is told of its routing module's view, before that has come to rest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qss.app.site_routing import SiteRouting
from qss.app.site_tables import RoutingCosts
from support.module_runners import raise_defect
from support.pki import Pki
from support.routing_tables import A, B, tls


@pytest.mark.parametrize("has_it", [False, True])
def test_all_are_heard_once_the_table_has_what_they_told(tmp_path: Path, has_it: bool) -> None:
    """In between, an SAE that has been told of is not known yet: nobody may say that there is none."""
    routing = SiteRouting(A, tls(Pki(tmp_path), "A"), RoutingCosts(), [B], raise_defect)
    assert not routing.hears_all
    full: Any = SimpleNamespace(has_all_homes=has_it, adjacency=lambda _: SimpleNamespace(full=True))
    routing._running = SimpleNamespace(router=full)
    assert routing.hears_all is has_it
