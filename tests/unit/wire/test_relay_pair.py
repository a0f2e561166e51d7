"""Names of end-to-end key streams' sources (Relay 1.3): alike at both ends, and for nothing else."""

from __future__ import annotations

import hashlib
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from qss.model.identifiers import QksId
from qss.model.relay_policy import Hop, RelayPolicy
from qss.wire.relay_pair import pair_of

A, B = QksId("A"), QksId("B")
NAMES = st.sampled_from([QksId(name) for name in ("A", "B", "AB", "BA", "B" * 40)])
POLICIES = st.sampled_from([RelayPolicy(), RelayPolicy(disjoint_paths=2), RelayPolicy(hop=Hop.AES_256_GCM)])


def test_the_name_is_what_the_page_says() -> None:
    hashed = hashlib.sha256(b"qss-relay-pair.1\0" + b"\x93" + b"\xa1A" + b"\xa1B" + b"\xa2{}").hexdigest()
    uuid = str(pair_of(B, A, RelayPolicy()))
    assert uuid == f"{hashed[:8]}-{hashed[8:12]}-8{hashed[13:16]}-{uuid[19]}{hashed[17:20]}-{hashed[20:32]}"
    assert (UUID(uuid).version, UUID(uuid).variant) == (8, RFC_4122)


@given(st.tuples(NAMES, NAMES, POLICIES), st.tuples(NAMES, NAMES, POLICIES))
def test_other_sites_or_another_policy_have_another_name(one, other) -> None:
    alike = (frozenset(one[:2]), one[2]) == (frozenset(other[:2]), other[2])
    assert (pair_of(*one) == pair_of(*other)) is alike
