"""The opening of a store: what a look beside its node may come upon, and that a failure leaves nothing open."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from qss.adapters.stores.sqlite import SqliteStore, check_unopened, create_store, schema, store
from qss.model.errors import StoreDamaged, StoreError, StoreUnavailable
from support.store_records import SITE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_store(tmp_path / "ledger.sqlite", SITE)
    return tmp_path / "ledger.sqlite"


@pytest.mark.parametrize("torn", [1, 2, 3])
def test_a_page_that_is_being_written_is_looked_at_again(path, monkeypatch, torn) -> None:
    whole = path.read_bytes()
    path.write_bytes(os.urandom(len(whole)))
    looks: list[float] = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == torn:
            path.write_bytes(whole)

    monkeypatch.setattr(schema.time, "sleep", pause)
    if torn < 3:
        check_unopened(path, SITE)
        assert looks == [0.05] * torn
    else:
        with pytest.raises(StoreDamaged):
            check_unopened(path, SITE)


@pytest.mark.parametrize("named", ["ledger.sqlite", "a b?c#d%41.sqlite"])
def test_a_path_may_have_any_form(path, monkeypatch, named) -> None:
    path.rename(path.with_name(named))
    monkeypatch.chdir(path.parent)
    for form in (path.with_name(named), Path(named), Path(f"/{path.with_name(named)}")):
        check_unopened(form, SITE)
    assert str(form).startswith("//")
    assert [file.name for file in path.parent.iterdir()] == [named]
    with pytest.raises(StoreError, match="cannot be opened"):
        check_unopened(Path("gone.sqlite"), SITE)


@pytest.mark.parametrize("part", ["LogRoom", "Place"])
async def test_a_start_without_a_descriptor_left_lets_go_of_the_store(path, monkeypatch, part) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), f"{path}-wal")

    opened = SqliteStore(path, SITE)
    threads = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(store, part, refuse)
        with pytest.raises(StoreUnavailable, match=r"-wal cannot be opened \(Too many open files\); check how many"):
            await opened.start()
    assert not [one for one in threading.enumerate() if one.name.startswith("qss-store")]
    assert threading.active_count() <= threads + 1  # the loop's own
    await opened.start()
    await opened.check_in_place()
    await opened.close()
