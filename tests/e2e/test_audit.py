"""The audit log of real sites: what administrators do is in it, also after kill -9, and whoever changes it is found."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qss.model.identifiers import QksId, SaeId
from support.network import ALICE, BOB, A, B, RunningNetwork, qss, running_network

NEW = SaeId("sae:anton")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    with running_network(tmp_path_factory.mktemp("audit"), (A, B)) as running:
        running.until_keys((ALICE, BOB), count=10)
        yield running


def data(network: RunningNetwork, site: QksId) -> Path:
    return network.network.folder / f"{site}.data"


def asking(network: RunningNetwork, site: QksId) -> tuple[str | Path, ...]:
    own = network.network.pki.site(site)
    return (
        *("--url", f"https://localhost:{network.network.ports[site].admin}", "--cert", own.certificate),
        *("--key", own.key, "--ca", network.network.pki.authority.certificate),
    )


def verify(network: RunningNetwork, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return qss("audit", "verify", folder, "--authority", network.network.pki.authority.certificate, *more)


def findings(network: RunningNetwork, site: QksId, *more: str) -> dict[str, object]:
    ran = verify(network, data(network, site), "--json", *more)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert isinstance(found, dict)
    return found


def events(network: RunningNetwork, site: QksId, *more: str) -> list[dict[str, object]]:
    ran = qss("audit", "show", data(network, site), "--json", *more)
    assert (ran.returncode, ran.stderr) == (0, "")
    return [record for record in map(json.loads, ran.stdout.splitlines()) if record["kind"] == "event"]


def told(network: RunningNetwork, site: QksId, event: str) -> dict[str, object]:
    """Wait until an event is in the log, and return what it says."""
    network.until(lambda: bool(events(network, site, "--event", event)), event)
    fields = events(network, site, "--event", event)[-1]["fields"]
    assert isinstance(fields, dict)
    return fields


def test_what_administrators_do_is_in_the_log_while_the_site_runs(two: RunningNetwork) -> None:
    keys = two.get(ALICE, BOB, 2)
    assert qss("sae", "add", NEW, *asking(two, A)).returncode == 0
    assert told(two, A, "an SAE was registered") == {"by": "site A", "sae": NEW, "stated": False}
    voided = qss("key", "void", *(word for key in keys for word in ("--id", key)), *asking(two, A))
    assert voided.returncode == 0
    recall = told(two, A, "keys recalled")
    assert (recall["by"], recall["key_ids"], recall["burned_bits"]) == ("site A", list(keys), {"B": 0})
    assert told(two, B, "the neighbour recalled keys that were not fetched")["bits"] == 512
    os.kill(two.nodes.pid(A), signal.SIGHUP)
    assert told(two, A, "the configuration was read anew")["saes_added"] == 0

    ran = verify(two, data(two, A))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("The audit log of site A is whole:\n")
    assert re.search(r"last checkpoint  \d+:[0-9a-f]{64}\n +of 20\S+Z, signed by the site\n", ran.stdout)
    assert two.status(A)["audit_writable"] is True
    noted = two.status(A)["audit_checkpoint"]
    findings(two, A, "--noted", noted)
    shown = qss("audit", "show", data(two, A), "--event", "registered").stdout
    assert re.fullmatch(rf"\d+ 20\S+Z \[warning\] an SAE was registered by=site A sae={NEW} stated=False\n", shown)


def test_after_kill_9_the_chain_goes_on_and_says_so(two: RunningNetwork) -> None:
    before = findings(two, A)
    noted = two.status(A)["audit_checkpoint"]
    assert qss("sae", "remove", NEW, *asking(two, A)).returncode == 0
    told(two, A, "an SAE was removed")
    two.kill(A)
    with (data(two, A) / "audit" / "000001.jsonl").open("ab") as file:
        file.write(b'{"kind":"event","seq":')  # as a power cut may leave it
    assert findings(two, A)["torn_bytes"] == 22
    two.start(A)
    two.until_ready(A)
    two.until(lambda: findings(two, A)["torn_bytes"] == 0, "the torn line to be cut off")
    after = findings(two, A, "--noted", noted)
    assert after["crashes"] == before["crashes"] + 1  # type: ignore[operator]
    assert after["first"] == before["first"]
    assert after["began"] == []
    assert told(two, A, "an SAE was removed")["sae"] == NEW


def test_one_byte_that_is_changed_is_found_at_its_place(two: RunningNetwork, tmp_path: Path) -> None:
    copy = tmp_path / "audit"
    shutil.copytree(data(two, A) / "audit", copy)
    assert verify(two, copy).returncode == 0
    file = copy / "000001.jsonl"
    whole = file.read_bytes()
    at = whole.index(b"an SAE was registered")
    file.write_bytes(whole[:at] + b"A" + whole[at + 1 :])
    ran = verify(two, copy)
    assert (ran.returncode, ran.stdout) == (1, "")
    line = whole[:at].count(b"\n") + 1
    assert ran.stderr.startswith(f"qss: {file}, line {line}: its hash does not fit: it was changed, or a record before")
    assert ran.stderr.count("\n") == 1


def test_a_stop_signs_all_and_a_start_after_it_is_no_crash(two: RunningNetwork) -> None:
    before = findings(two, B)
    assert two.stop(B) == 0
    stopped = findings(two, B)
    assert (stopped["unsigned"], stopped["last"]) == (0, stopped["checkpoint"])
    two.start(B)
    two.until_ready(B)
    two.until(lambda: findings(two, B)["records"] != stopped["records"], "the start")
    assert findings(two, B)["crashes"] == before["crashes"]


def test_a_log_that_cannot_be_written_ends_nothing_and_is_said(two: RunningNetwork) -> None:
    assert two.stop(B) == 0
    log = data(two, B) / "audit"
    log.rename(log.with_name("aside"))
    log.write_text("a file in its place")
    two.start(B)
    two.until_ready(B)
    two.until(lambda: not two.status(B)["audit_writable"], "a log that cannot be written")
    assert b"qss_audit_writable 0\n" in two.admin(B, "/metrics", two.network.pki.site(B))[1]
    assert qss("sae", "add", NEW, *asking(two, B)).returncode == 0
    two.until_keys((BOB, ALICE), count=1)
    keys = two.get(BOB, ALICE)
    assert two.take(ALICE, BOB, keys).keys == keys
    complaint = "the audit log cannot be written, and what is to be in it waits in memory"
    (told_once,) = [event for event in two.events(B) if event["event"] == complaint]
    assert "Not a directory" in told_once["reason"]

    log.unlink()
    log.with_name("aside").rename(log)
    assert told(two, B, "an SAE was registered")["sae"] == NEW
    assert two.status(B)["audit_writable"] is True
    assert findings(two, B)["lost"] == 0
    assert "the audit log can be written again" in [event["event"] for event in two.events(B)]


def test_an_older_log_and_one_that_is_gone_are_noticed_at_the_start(two: RunningNetwork, tmp_path: Path) -> None:
    log = data(two, B) / "audit"
    assert two.stop(B) == 0
    copy = shutil.copytree(log, tmp_path / "older")
    for put_back in (True, False):
        two.start(B)
        two.until_ready(B)
        two.until(lambda: two.status(B)["audit_checkpoint"] is not None, "the start to be recorded")
        assert two.stop(B) == 0
        came_to = findings(two, B, *(("--from", "2") if not put_back else ()))["last"]
        shutil.rmtree(log)
        if put_back:
            shutil.copytree(copy, log)
        two.start(B)
        two.until_ready(B)
        two.until(lambda: two.status(B)["audit_findings"]["missing"] == 1, "the finding")
        assert (
            b'qss_audit_findings_total{finding="missing"} 1\n' in two.admin(B, "/metrics", two.network.pki.site(B))[1]
        )
        found = findings(two, B, *(("--from", "2") if put_back else ()))
        assert found["before"] == came_to
        assert [begin["because"] for begin in found["began"]] == ["missing"]  # type: ignore[attr-defined]
        assert told(two, B, "the audit log cannot be gone on with")["reason"]
        assert two.stop(B) == 0
    two.start(B)
    two.until_ready(B)
    two.until(lambda: two.status(B)["audit_checkpoint"] is not None, "the start to be recorded")
    assert set(two.status(B)["audit_findings"].values()) == {0}
