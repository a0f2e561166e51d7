"""`make fuzz`: throws mutated and made-up input at decoders. What fails is printed as hex, to be fed again.

python -m fuzz etsi004 --seconds 60 --seed 7
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fuzz import audit, certificates, etsi004, key_streams, qrp, relay, routing, routing_admin, saes, vendor_boxes

MAX_MUTATIONS = 8
MAX_INSERTED = 64


@dataclass(frozen=True)
class Target:
    """What is fuzzed: `one` takes any bytes and raises only if something is wrong; `seeds` are good input."""

    seeds: Callable[[], list[bytes]]
    one: Callable[[bytes], None]


TARGETS = {
    "audit": Target(audit.seeds, audit.one),
    "certificates": Target(certificates.seeds, certificates.one),
    "etsi004": Target(etsi004.seeds, etsi004.one),
    "key-streams": Target(key_streams.seeds, key_streams.one),
    "qrp": Target(qrp.seeds, qrp.one),
    "relay": Target(relay.seeds, relay.one),
    "routing": Target(routing.seeds, routing.one),
    "routing-admin": Target(routing_admin.seeds, routing_admin.one),
    "saes": Target(saes.seeds, saes.one),
    "vendor-boxes": Target(vendor_boxes.seeds, vendor_boxes.one),
}


class Found(Exception):
    """Input that a target fails on."""


def run(target: Target, seed: int, *, seconds: float = float("inf"), tries: int | None = None) -> int:
    """Try until time or tries are used up; return how many it were. Raises `Found`."""
    chance, corpus = random.Random(seed), target.seeds()
    ends, done = time.monotonic() + seconds, 0
    while (tries is None or done < tries) and time.monotonic() < ends:
        data = bytes([chance.randrange(256)]) + mutated(corpus, chance)
        try:
            target.one(data)
        except Exception as error:
            raise Found(f"{type(error).__name__}: {error}; input {data.hex()}") from error
        done += 1
    return done


def mutated(corpus: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one to three seeds after another, changed here and there."""
    data = bytearray(b"".join(chance.choices(corpus, k=chance.randint(1, 3))))
    for _ in range(chance.randint(0, MAX_MUTATIONS)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + chance.randint(1, MAX_INSERTED)] = b""
            case 2:
                data[at:at] = chance.randbytes(chance.randint(1, MAX_INSERTED))
            case 3:
                data[at : at + 4] = chance.choice((0, 1, 255, 256, 1 << 31, (1 << 32) - 1)).to_bytes(4)
            case _:
                data[at:at] = data[: chance.randint(1, MAX_INSERTED)]
    return bytes(data)


def main() -> None:
    """Fuzz what is named, or all."""
    parser = argparse.ArgumentParser(prog='make fuzz ARGS="…"', description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="to try the same things again")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in TARGETS]:
        parser.error(f"there is no {', '.join(unknown)}: choose from {', '.join(TARGETS)}")
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    for name in arguments.names or TARGETS:
        try:
            tries = run(TARGETS[name], seed, seconds=arguments.seconds)
        except Found as found:
            sys.exit(f"{name}, seed {seed}: {found}")
        print(f"{name}: {tries} tries, nothing found (seed {seed})")


if __name__ == "__main__":
    main()
