"""What must be so of a simulated network of relays, whatever happened in it."""

from __future__ import annotations

from qss.core.relay import events as ev
from qss.model.identifiers import QksId, TransferId
from qss.simulation.relay import Network

NAMES = A, B, C, D, E = tuple(QksId(name) for name in "ABCDE")
LINE = ((A, B), (B, C), (C, D), (D, E))
MESH = (*LINE, (A, C), (B, D), (C, E))


def outcome(network: Network, transfer: TransferId) -> ev.Arrived | ev.Failed | None:
    """Return the one answer that a source has got, or None if it has got none yet."""
    answers = network.answers[transfer]
    assert len(answers) <= 1, "a source was answered twice"
    return answers[0] if answers else None


def arrived(network: Network) -> list[TransferId]:
    return [each for each in network.answers if isinstance(outcome(network, each), ev.Arrived)]


def agreed(network: Network) -> None:
    """What has arrived is at its destination, and is what was sent."""
    assert network.absent == []
    for transfer in arrived(network):
        _, content = network.came[transfer]
        assert content == network.content[transfer], "source and destination have different content"


def at_rest(network: Network) -> None:
    """Let everything end, and see that nothing is left anywhere, and nobody unanswered."""
    network.run(network.settings.give_up_s + network.settings.untaken_s + 5 * network.delay_s + 1.0)
    for site in network.sites.values():
        assert site.is_empty, f"{site.name} has something left: {site}"
    assert network.drawn == 0, "a range was never ended"
    for transfer in network.answers:
        assert outcome(network, transfer) is not None, "a source was never answered"
