"""`qss audit`: checks and shows a site's audit log, in its data folder or in a copy, while the site runs or not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qss.cli.printable import printable

if TYPE_CHECKING:
    from qss.app.audit.findings import Findings
    from qss.wire.audit import Begin, Record

_PATH = click.Path(path_type=Path)

_LEFT_OUT = {"seq", "at", "certificates", "signature"}

_OVERDUE_S = 60.0
"""Seconds for which records may be unsigned without a remark: six times what a site takes, for clocks that differ."""

_BEGAN = {
    "restored": "was begun when the site was restored from a back-up",
    "damaged": "was begun because what came before is damaged",
    "changed": "was begun because the files were changed while the site ran",
    "missing": "was begun because the log before it, or its end, was missing",
    "foreign": "was begun behind the log of another site",
}


def _noted(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> list[tuple[int, str]]:
    found = [re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text) for text in given]
    if None in found:
        raise click.BadParameter("give what `qss audit verify` has printed: a number, a colon, 64 hexadecimal digits")
    return [(int(match[1]), match[2]) for match in found if match is not None]


def _moment(_ctx: click.Context, _param: click.Parameter, given: str | None) -> str:
    """Return a date and time as records tell theirs, which sort as texts do."""
    from qss.wire.audit import time_text

    if given is None:
        return ""
    try:
        moment = datetime.fromisoformat(given)
        return time_text((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise click.BadParameter("give a date and time such as 2026-11-23 or 2026-11-23T04:00:00Z") from error


@click.group("audit")
def command() -> None:
    """Check and show the audit log of a site.

    DIR is the site's data folder, whose node may run meanwhile, or a copy of the folder `audit` in it.
    """


@command.command()
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--authority", type=_PATH, help="The network's authority (PEM); without it no signature is looked at.")
@click.option(
    "--noted",
    metavar="SEQ:HASH",
    multiple=True,
    callback=_noted,
    help="A record that was noted, and must be there; can be given several times.",
)
@click.option(
    "--from",
    "from_segment",
    type=click.IntRange(min=1),
    default=None,
    metavar="SEGMENT",
    help="Look at the segments from this number on alone: at what is behind a damaged one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def verify(
    folder: Path,
    authority: Path | None,
    noted: list[tuple[int, str]],
    from_segment: int | None,
    as_json: bool,  # noqa: FBT001 - click passes a command-line flag so
) -> None:
    """Check that the log is whole and as its site wrote it, or say where it is not."""
    import msgspec

    from qss.app.audit.verification import verify as verified

    found = verified(folder, authority, noted, from_segment=from_segment or 0)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    part = f" from segment {from_segment} on; nothing here vouches for what was before" if from_segment else ""
    click.echo(f"The audit log of site {found.site} is whole{part}:")
    for label, text in _told(found, time.time()):
        click.echo(f"  {label:<16} {text}")
    if found.checkpoint is not None:
        click.echo("Note the last checkpoint in another place, and give it with --noted the next time.")


def _told(found: Findings, now: float) -> Iterator[tuple[str, str]]:
    if found.from_segment and found.before is not None:
        yield "before", f"was not looked at; it ended with record {found.before.noted}, says the first one here"
    yield "records", f"{found.records}, of which {found.events} are events, in {_count(found.segments, 'segment')}"
    yield "from", found.first_at
    yield "to", found.last_at
    if found.checkpoint is None:
        yield "last checkpoint", "none"
    else:
        whose = "signed by the site" if found.judged else "whose it is was not looked at: give --authority"
        yield "last checkpoint", found.checkpoint.noted
        yield "", f"of {found.checkpoint_at}, {whose}"
    yield from _unsigned(found, now)
    for noted in found.noted:
        yield "noted before", f"{noted} is there"
    if found.removed_before:
        yield "removed", f"segments up to {found.removed_before - 1}, by the site, to make room"
    for chain in found.began:
        yield "a chain", _told_of(chain)
    if found.crashes:
        yield "crashes", f"{_count(found.crashes, 'start')} of the site before which it had not stopped"
    if found.lost:
        yield "lost", f"{_count(found.lost, 'record')} for which there was no room, noted where they would be"
    if found.torn_bytes:
        yield "unfinished", f"a last line of {found.torn_bytes} bytes: it is being written, or a crash has left it"


def _unsigned(found: Findings, now: float) -> Iterator[tuple[str, str]]:
    from qss.wire.audit import moment

    since = f", the first of {found.unsigned_since}" if found.unsigned else ""
    yield "after it", f"{_count(found.unsigned, 'record')} for which nothing vouches yet{since}"
    if found.unsigned and now - moment(found.unsigned_since).timestamp() > _OVERDUE_S:
        yield "", "a site that runs signs within ten seconds: unless it crashed then, or this is a copy made then,"
        yield "", "its disk refuses to be written, or the end was cut off"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _told_of(chain: Begin) -> str:
    after = "" if chain.follows is None else f"; the last known record before it is {chain.follows.noted}"
    return f"{_BEGAN[chain.because]} ({chain.at}){after}"


@command.command()
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--since", metavar="ISO", callback=_moment, help="Records from this date and time on, UTC if not said.")
@click.option("--event", "wanted", default="", metavar="TEXT", help="Records whose event, or kind, has this text.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as they are: a line of JSON each.")
def show(
    folder: Path,
    since: str,
    wanted: str,
    as_json: bool,  # noqa: FBT001 - click passes a command-line flag so
) -> None:
    """Show the records, of which nothing is checked."""
    from qss.app.audit.segments import records_in
    from qss.model.errors import AuditLogDamaged

    bad = 0
    for place, line, record in records_in(folder):
        if record is None:
            bad += 1
            click.echo(f"{place}: this is no record", err=True)
        elif record.at >= since and wanted in _name(record):
            click.echo(line.rstrip(b"\n") if as_json else _text(record))
    if bad:
        raise AuditLogDamaged(f"lines that are no records: {bad}; check the log with `qss audit verify {folder}`")


def _name(record: Record) -> str:
    from qss.wire.audit import Event

    return record.event if isinstance(record, Event) else str(record.__struct_config__.tag)


def _text(record: Record) -> str:
    from qss.wire.audit import Event

    level = f"[{record.level}] " if isinstance(record, Event) else ""
    fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
    return printable(f"{record.seq} {record.at} {level}{_name(record)}{fields}")


def _fields(record: Record) -> dict[str, object]:
    """Return what a record says besides number, time and name, without what no person reads."""
    import msgspec

    from qss.wire.audit import Event

    if not isinstance(record, Event):
        return {
            name: _told_short(value) for name, value in msgspec.structs.asdict(record).items() if name not in _LEFT_OUT
        }
    try:
        return msgspec.json.decode(record.fields, type=dict[str, object])
    except ValueError:
        return {"fields": "cannot be read"}


def _told_short(value: object) -> object:
    """Return a record that another one names as `verify` takes it."""
    from qss.wire.audit import Position

    return value.noted if isinstance(value, Position) else value
