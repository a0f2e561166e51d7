"""What a key server publishes to its routing module: back and forth, and what is refused."""

from __future__ import annotations

import pytest
from fuzz.__main__ import TARGETS, run

from qss.model.errors import BadRequest, RemoteProtocolError
from qss.model.identifiers import QksId, SaeId
from qss.model.network import Load, SiteState
from qss.wire.site_state import (
    Publication,
    parse_publication,
    parse_taken,
    parse_wait,
    render_links,
    render_state,
    render_taken,
    render_wait,
)

STATE = SiteState(
    {SaeId("sae:alice"): b"\x00\xff", SaeId("sae:new"): None},
    {SaeId("sae:far"): QksId("Z")},
    {QksId("B"): Load(1, 2, 3), QksId("C"): Load(0, 1 << 43)},
)


def test_back_and_forth():
    assert parse_publication(render_state(STATE, 8)) == Publication(8, True, STATE)
    assert parse_publication(render_state(SiteState())) == Publication(0, True, SiteState())
    assert parse_publication(render_links(STATE.links, 8)) == Publication(8, False, SiteState(links=STATE.links))
    assert parse_wait(render_wait(7, 2.5)) == (7, 2.5)
    assert parse_taken(render_taken(9, known=True))
    assert not parse_taken(render_taken(9, known=False))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"links":{},"saes":{}}',
        b'{"links":{},"homes":{},"revision":1}',
        render_state(STATE)[:-1],
        render_state(STATE).replace(b'"sae:new"', b'"sae new"'),
        render_state(STATE).replace(b'"Z"', b'"-"'),
        render_state(STATE).replace(b'"B"', b'"a b"'),
        render_state(STATE).replace(b'"available_bits":1,', b'"available_bits":-1,'),
        render_state(STATE).replace(b'"capacity_bits":2,', b'"capacity_bits":0,'),
        render_state(STATE).replace(b'"AP8="', b'"?"'),
        render_state(STATE)[:-1] + b',"more":1}',
    ],
)
def test_what_is_no_state_is_refused(body):
    with pytest.raises(BadRequest):
        parse_publication(body)


@pytest.mark.parametrize("body", [b"{}", b'{"after":1}', b'{"after":1,"wait_s":-1}', b'{"after":1,"wait_s":21}'])
def test_what_is_no_question_is_refused(body):
    with pytest.raises(BadRequest):
        parse_wait(body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"version":1}', b'{"version":1,"known":1}', b"[" * 100_000])
def test_what_is_no_answer_is_the_other_ends_fault(body):
    with pytest.raises(RemoteProtocolError, match="none of Admin's"):
        parse_taken(body)


def test_fuzzing_finds_nothing_in_a_short_while():
    assert run(TARGETS["routing-admin"], 7, tries=3000) == 3000
