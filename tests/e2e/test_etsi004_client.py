"""A client that was written from the standard alone gets equal keys at both ends of two running modules."""

from __future__ import annotations

import ast
import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.module_runners import A, B, TwoModules
from support.pki import Pki
from support.southbounds import Southbounds

CLIENT = Path(__file__).parent / "clients" / "etsi004_client.py"


@pytest.fixture
async def southbounds(tmp_path: Path) -> AsyncIterator[Southbounds]:
    async with TwoModules() as modules, Southbounds(modules, Pki(tmp_path)) as running:
        yield running


async def run(southbounds: Southbounds, *arguments: str) -> tuple[int, str, str]:
    pki, pair = southbounds.pki, southbounds.pki.sae("sae:script")
    command = [
        *(sys.executable, "-I", str(CLIENT), str(southbounds.address(A)), str(southbounds.address(B))),
        *("--authority", str(pki.authority), "--certificate", str(pair.certificate), "--key", str(pair.key)),
        *arguments,
    ]
    started = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
    out, err = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode is not None
    return started.returncode, out.decode(), err.decode()


def test_the_client_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(CLIENT.read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("form", ["forge", "qubip"])
@pytest.mark.parametrize("named", [False, True])
async def test_both_ends_print_the_same_digest(southbounds: Southbounds, form: str, named: bool) -> None:
    ksid = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
    code, out, err = await run(southbounds, "--form", form, *(("--ksid", ksid) if named else ()))
    assert (code, err) == (0, "")
    lines = re.findall(r"^([AB]) ([0-9a-f-]{36}) 5120 bytes sha256 ([0-9a-f]{64})$", out, re.MULTILINE)
    assert [line[0] for line in lines] == ["A", "B"]
    assert lines[0][1:] == lines[1][1:]
    assert not named or lines[0][1] == ksid


async def test_one_stream_follows_another(southbounds: Southbounds) -> None:
    digests = set()
    for _ in range(3):
        code, out, _ = await run(southbounds, "--chunks", "3")
        assert code == 0
        digests.add(out.split()[-1])
    assert len(digests) == 3


async def test_the_client_says_what_it_is_refused(southbounds: Southbounds) -> None:
    code, out, err = await run(southbounds, "--chunk-size", "16")
    assert (code, out) == (1, "")
    assert "A: OPEN_CONNECT has status 7" in err
