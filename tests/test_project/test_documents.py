"""Documents hold together: links lead somewhere, and every step that the code cites is there to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import qss.servers.counts
import qss.wire.relay_status
import qss.wire.routing_metrics
import qss.wire.status
from qss.app.configuration import load
from qss.app.far_waits import Outcome as WaitOutcome
from qss.app.module_states import OUTCOMES
from qss.core.relay.events import DropReason
from qss.model.records import BurnReason
from qss.pki.folder import PkiFolder
from qss.runtime.relay.counts import OUTCOMES as TRANSFER_OUTCOMES
from qss.wire.metrics import Metric

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [*sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.md"))]

SPECIFICATIONS = {
    "KRP": "krp.md",
    "Sync": "sync.md",
    "Boxes": "vendor-boxes.md",
    "Routing": "routing-protocol.md",
    "Relay": "relay.md",
}
"""The word before a step's number, and the page that has the step."""

_NUMBER = r"\d+(?:\.\d+)?"
_CITATION = re.compile(rf"\b({'|'.join(SPECIFICATIONS)}) (?:steps? )?({_NUMBER}(?:(?:, | and | to ){_NUMBER})*)")


def without_blocks(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def steps(page: Path) -> set[str]:
    """Return the numbers of a page's sections and, in them, of its steps: `2`, `2.1`."""
    found = set()
    for part in re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        section, _, text = part.partition(".")
        found |= {section, *(f"{section}.{step}" for step in re.findall(r"^(\d+)\. ", text, re.MULTILINE))}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", without_blocks(page.read_text("utf-8")))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{target} is not there"
        assert to.is_relative_to(ROOT), f"{target} is outside the project"
        assert not anchor or anchor in anchors(to), f"{to.name} has no heading {anchor}"


def cited() -> list[tuple[str, str]]:
    """Return each specification and step that a source or page cites, once."""
    return sorted(
        {
            (word, step)
            for source in SOURCES
            for word, numbers in _CITATION.findall(source.read_text("utf-8"))
            for step in re.findall(_NUMBER, numbers)
        }
    )


@pytest.mark.parametrize(("word", "step"), cited())
def test_a_cited_step_is_there(word: str, step: str) -> None:
    assert step in steps(REFERENCE / SPECIFICATIONS[word])


def test_the_code_does_cite() -> None:
    assert {word for word, _ in cited()} == set(SPECIFICATIONS)


def test_pages_that_the_code_names_are_there() -> None:
    named = {
        name
        for source in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"\bdocs/[\w./-]*\w", source.read_text("utf-8"))
    }
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_section_8_of_northbound_lists_every_metric() -> None:
    """Metrics are made in `wire` and counted in `servers.counts`; a new one belongs into the page."""
    made = {
        metric.name
        for room in (qss.wire.relay_status, qss.wire.routing_metrics, qss.wire.status, qss.servers.counts)
        for metric in vars(room).values()
        if isinstance(metric, Metric)
    }
    section = (REFERENCE / "northbound.md").read_text("utf-8").partition("## 8. Admin")[2]
    assert set(re.findall(r"^\| `(qss_\w+)` \|", section, re.MULTILINE)) == made


def test_metrics_are_made_where_the_page_is_held_to_them() -> None:
    makers = {
        str(source.relative_to(ROOT / "src" / "qss"))
        for source in (ROOT / "src").rglob("*.py")
        if re.search(r"\bMetric\(\s*\"", source.read_text("utf-8"))
    }
    assert makers == {"wire/relay_status.py", "wire/routing_metrics.py", "wire/status.py", "servers/counts.py"}


def test_section_8_of_northbound_names_every_state_and_outcome() -> None:
    section = (REFERENCE / "northbound.md").read_text("utf-8").partition("## 8. Admin")[2]
    rows = dict(re.findall(r"^\| `(qss_\w+)` \|[^|]*\|(.*)\|$", section, re.MULTILINE))
    assert {state for state in qss.wire.status.STATES if f"`{state}`" not in rows["qss_stream_bits"]} == set()
    assert {outcome for outcome in OUTCOMES if f"`{outcome}`" not in rows["qss_module_bits_total"]} == set()
    for metric, labels in (
        ("qss_relay_transfers_total", TRANSFER_OUTCOMES),
        ("qss_relay_requests_total", WaitOutcome),
        ("qss_relay_dropped_total", DropReason),
    ):
        assert {label for label in labels if f"`{label}`" not in rows[metric]} == set()


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    inner = [page.relative_to(ROOT / "docs") for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [str(page) for page in inner if f"({page})" not in index and page.name != "README.md"] == []


def test_decisions_are_numbered_without_gaps() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [record.name[:5] for record in records] == [f"{number:04}-" for number in range(1, len(records) + 1)]


def configurations(page: str) -> list[str]:
    """Return the whole configurations that a page shows."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    return [block for block in blocks if "[site]" in block]


def test_the_tutorial_configures_both_ends_of_one_link(tmp_path: Path) -> None:
    shown = configurations("docs/tutorial/first-network.md")
    loaded = []
    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.toml"
        file.write_text(text, encoding="utf-8")
        loaded.append(load(file))
    a, b = loaded
    assert (a.site.id, a.links[0].peer, a.links[0].uuid) == (b.links[0].peer, b.site.id, b.links[0].uuid)
    assert a.links[0].address == b.external.listen
    assert b.links[0].address == a.external.listen
    assert a.pairs == b.pairs
    assert [(sae.id, sae.site) for sae in (*a.saes, *b.saes)] == [("sae:alice", "A"), ("sae:bob", "B")]
    page = (ROOT / "docs/tutorial/first-network.md").read_text("utf-8")
    for sae in (*a.saes, *b.saes):
        assert sae.statement == tmp_path / PkiFolder(Path("pki")).home(sae.id)
        assert f"$ qss pki home {sae.id} {sae.site}\n" in page


def test_the_store_page_has_every_reason_of_a_burned_bit_and_no_other() -> None:
    text = (REFERENCE / "store.md").read_text("utf-8").partition("Reasons of burned bits: ")[2].partition("\n\n")[0]
    assert re.findall(r"`([a-z]+)` \(", text) == [str(reason) for reason in BurnReason]
