"""The state machines of a transfer and of its key: every phase with every step."""

from __future__ import annotations

import itertools

import pytest

from qss.core.relay.phases import LIVE, KeyPhase, KeyStep, Phase, Step, after, key_after
from qss.model.errors import LocalProtocolError

DECLARED = {
    (Phase.GATHERING, Step.GATHERED): Phase.PASSING,
    (Phase.PASSING, Step.PASSED): Phase.PASSED,
    (Phase.PASSING, Step.KEPT): Phase.HELD,
    (Phase.PASSED, Step.ENDED): Phase.OVER,
    (Phase.HELD, Step.ENDED): Phase.OVER,
    (Phase.GATHERING, Step.VOIDED): Phase.VOID,
    (Phase.PASSING, Step.VOIDED): Phase.VOID,
    (Phase.PASSED, Step.VOIDED): Phase.VOID,
    (Phase.HELD, Step.VOIDED): Phase.VOID,
    (Phase.VOID, Step.SETTLED): Phase.OVER,
}

KEY_DECLARED = {
    (KeyPhase.AWAITED, KeyStep.READIED): KeyPhase.READY,
    (KeyPhase.AWAITED, KeyStep.DENIED): KeyPhase.ENDED,
    (KeyPhase.READY, KeyStep.SPENT): KeyPhase.SPENT,
    (KeyPhase.READY, KeyStep.RETURNED): KeyPhase.ENDED,
    (KeyPhase.SPENT, KeyStep.RETURNED): KeyPhase.ENDED,
}


@pytest.mark.parametrize(("phase", "step"), list(itertools.product(Phase, Step)))
def test_every_phase_of_a_transfer_with_every_step(phase: Phase, step: Step) -> None:
    if (phase, step) in DECLARED:
        assert after(phase, step) is DECLARED[phase, step]
    else:
        with pytest.raises(LocalProtocolError, match=f"a transfer that is {phase} cannot be {step}"):
            after(phase, step)


@pytest.mark.parametrize(("phase", "step"), list(itertools.product(KeyPhase, KeyStep)))
def test_every_phase_of_key_with_every_step(phase: KeyPhase, step: KeyStep) -> None:
    if (phase, step) in KEY_DECLARED:
        assert key_after(phase, step) is KEY_DECLARED[phase, step]
    else:
        with pytest.raises(LocalProtocolError, match=f"key for a hop that is {phase} cannot be {step}"):
            key_after(phase, step)


def test_neighbours_are_needed_until_a_site_has_said_or_heard_the_last() -> None:
    assert {Phase.GATHERING, Phase.PASSING, Phase.PASSED} == LIVE
