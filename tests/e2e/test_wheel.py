"""The wheel alone, in an empty environment, runs the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.gaps import gap

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and, so that no network is needed, sees this environment's dependencies.

    They come by a path in a `.pth` file: of what lies on such a path, packages are found, but no further `.pth` file
    is read. So an editable installation of the project in this environment stays unseen.
    """
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("quantum_software_stack-*.whl")
    environment = folder / "environment"
    made = subprocess.run([sys.executable, "-m", "venv", str(environment)], capture_output=True, check=False)
    if made.returncode:
        gap("this Python cannot make environments with pip", "install its venv and ensurepip modules")
    python = environment / "bin" / "python"
    run("-m", "pip", "install", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel), python=python)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = environment / "lib" / version / "site-packages"
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return environment


def run(*arguments: str, python: Path = Path(sys.executable)) -> None:
    ran = subprocess.run([python, *arguments], cwd=ROOT, env=clean(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_demo_prints_one_json_object_and_nothing_else(empty: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [empty / "bin" / "python", "-c", "import qss; print(qss.__file__)"],
        cwd=tmp_path,
        env=clean(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout).is_relative_to(empty)
    ran = subprocess.run(
        [empty / "bin" / "qss", "demo", "--once", "--json"],
        cwd=tmp_path,
        env=clean() | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    results = json.loads(ran.stdout)
    assert results["ok"] is True
    deliveries = results["deliveries"]
    assert len(deliveries) >= 6
    for delivery in deliveries:
        assert {delivery["from"], delivery["to"]} < {"A", "B", "C"}
        assert delivery["from"] != delivery["to"]
        assert delivery["match"] is True
        assert delivery["ms"] > 0
    assert {("A", "B"), ("B", "A"), ("B", "C"), ("C", "B"), ("A", "C")} <= {
        (one["from"], one["to"]) for one in deliveries
    }
    assert (100, 1024) in {(one["keys"], one["bits"]) for one in deliveries}
    assert any(len(one["slaves"]) > 1 for one in deliveries)
    assert {one["status"] for one in results["refusals"]} == {400, 401, 503}
    assert "gathering key" in ran.stderr
    assert list(tmp_path.iterdir()) == []
