"""Continuous health tests on what a QKD device yields, in the manner of NIST SP 800-90B, 4.4.

A device yields distilled key: every bit is to be random, so a byte is assumed to have 8 bits of min-entropy. What is
looked for is total failure: a stuck line, a generator that has lost its entropy, a buffer that is read twice. No test
can show that bits are random; a generator with a short seed passes them all.

==================  ========================================================================  =========================
test                over                                                                      finds
==================  ========================================================================  =========================
repetition count    bytes (4.4.1), across blocks                                              all zeros, all ones
adaptive proportion bytes in windows of 512 (4.4.2), across blocks                            patterns of up to 16 bytes
bit balance         16 KiB of a block: all bits, and in turns one bit of each byte            a stuck bit in every byte
cycle               the last 32 bytes of a block in it, and those of the last block in it     cycles of up to a block
repeated block      the first 32 bytes of the last 64 blocks, and of some long before         a block that comes again
==================  ========================================================================  =========================

The last test goes across key streams. "Some long before" are the last blocks whose counts were multiples of 2, of 4, of
8, and so on: of any 2^k blocks one is known for the 2^k that follow. So a device that begins to go round in a ring of n
blocks, whenever it does, is found within 3 n of them. (A ring of other length is found when a round begins with a block
again: of M bytes after M / gcd(M, bytes of a block) blocks.) Where the 16 KiB of a longer block are depends on the
block itself, so that no fault of a device's keeps clear of them.

The samples of the two tests of the standard are bytes, not bits, because a device delivers bytes: what breaks in it, a
buffer or a bus, repeats them, and whole-buffer operations count them faster than the device yields them.

*False alarms.* The repetition count fails a healthy device with probability at most 2^-120 for each sample, the next
two tests with at most 2^-80 for each window or block, as exact cutoffs say; the other two with less than 2^-100 for
each block. At 10 Gbit/s there are fewer than 2^47 windows and 2^56 samples in a year: below one false alarm in 2^30
years. (The 2^-20 to 2^-40 that the standard speaks of would be one within a quarter of an hour, or less.)

Pure, and incremental: what one block leaves for the next is a `HealthState`. It holds bytes of key, and shows none.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

from qss.model.errors import DeviceUnhealthy
from qss.model.health import HealthTest
from qss.model.key_material import KeyMaterial

ALPHA_BITS = 80
"""The false alarm rate of one test of one window is at most 2^-80."""

REPETITION_ALPHA_BITS = 120
"""That of the repetition count, for a sample: lower, so that a look at every fifth sample is enough."""

ENTROPY_BITS = 8.0
"""Min-entropy of a byte that is assumed."""

WINDOW = 512
"""Samples in a window of the adaptive proportion test, for samples that are not binary (4.4.2)."""

REMEMBERED_BLOCKS = 64
"""How many of the last blocks a device may not repeat."""

BALANCE_BYTES = 16 * 1024
"""Of longer blocks so many bytes, from anywhere, are looked at for the balance of their bits."""

_PROBE = _TAIL = 32
_BEGINNING = 32
_STRIDE = 5


def repetition_cutoff(alpha_bits: float, entropy_bits: float) -> int:
    """Return C = 1 + ceil(-log2(alpha) / H): so many equal samples in a row are a failure (4.4.1)."""
    return 1 + math.ceil(alpha_bits / entropy_bits)


def proportion_cutoff(alpha_bits: float, entropy_bits: float, window: int) -> int:
    """Return C = 2 + critbinom(W - 1, 2^-H, 1 - alpha): a window's first sample so often in it is a failure (4.4.2).

    `critbinom` is the smallest k such that more than k successes in so many trials have probability at most alpha. The
    standard's own 1 + critbinom(W, ...) takes the first sample, which is always seen, for one more trial, and alarms
    somewhat more often than alpha says. C is never more than W: a window that is all one sample always fails.
    """
    p, trials = 2.0**-entropy_bits, window - 1
    beyond = 0.0
    for k in range(trials, 0, -1):  # from the small terms to the large ones, so that none is lost
        beyond += math.comb(trials, k) * p**k * (1 - p) ** (trials - k)
        if beyond > 2.0**-alpha_bits:
            return min(window, 2 + k)
    return 2


def balance_limit(alpha_bits: float, bits: int) -> float:
    """Return by how much the number of ones among `bits` random bits may differ from one half of them.

    From Hoeffding's inequality, P(|ones - n/2| >= t) <= 2 exp(-2 t^2 / n).
    """
    return math.sqrt(bits * (alpha_bits + 1) * math.log(2) / 2)


_REPETITIONS = repetition_cutoff(REPETITION_ALPHA_BITS, ENTROPY_BITS)
_PROPORTION = proportion_cutoff(ALPHA_BITS, ENTROPY_BITS, WINDOW)
_EQUAL_STEPS = bytes(_REPETITIONS // _STRIDE - 1)  # differences of every fifth sample in such a run
_LIMITS = {bits: balance_limit(ALPHA_BITS, bits) for bits in (BALANCE_BYTES, 8 * BALANCE_BYTES)}
_LINES = int.from_bytes(b"\x01" * BALANCE_BYTES)


@dataclass(frozen=True, slots=True)
class HealthState:
    """What the tests remember of the blocks before."""

    tail: bytes = field(default=b"", repr=False)
    """The last bytes."""
    sample: int = field(default=0, repr=False)
    """The first sample of the window that is open, how often it came in it, and how many samples it still takes."""
    seen: int = field(default=0, repr=False)
    left: int = 0
    beginnings: tuple[bytes, ...] = field(default=(), repr=False)
    """Digests of the first bytes of the last blocks."""
    landmarks: tuple[bytes, ...] = field(default=(), repr=False)
    """Those of the last blocks whose counts were multiples of 2^0, 2^1, 2^2, and so on."""
    count: int = 0
    """Blocks that came."""

    def restarted(self) -> HealthState:
        """Return what stays after a failure: which blocks came before. The tests of samples begin anew (4.3)."""
        return HealthState(beginnings=self.beginnings, landmarks=self.landmarks, count=self.count)


def examine(state: HealthState, block: KeyMaterial) -> HealthState:
    """Put the next block of a device through all tests; return what they remember then.

    Raises `DeviceUnhealthy`: nothing of the block may be used.
    """
    secret = block.reveal()
    _count_repetitions(state.tail[1 - _REPETITIONS :] + secret[: _REPETITIONS - 1])
    _count_repetitions(secret)
    window = _count_proportions(state, secret)
    beginning = hashlib.sha256(secret[:_BEGINNING]).digest()
    _weigh_bits(_part_of(secret, beginning), state.count % 8)
    if beginning in state.beginnings:
        raise DeviceUnhealthy(HealthTest.REPEATED_BLOCK, f"a block came again within {REMEMBERED_BLOCKS} blocks")
    if beginning in state.landmarks:
        raise DeviceUnhealthy(HealthTest.REPEATED_BLOCK, "a block came again that had come long before")
    _look_for_cycles(state.tail, secret)
    tail = (state.tail + secret[-_TAIL:])[-_TAIL:]
    remembered = (*state.beginnings[1 - REMEMBERED_BLOCKS :], beginning)
    count = state.count + 1
    reached = (count & -count).bit_length()  # powers of two that divide it, 2^0 among them
    landmarks = (beginning,) * reached + state.landmarks[reached:]
    return HealthState(tail, *window, remembered, landmarks, count)


def _count_repetitions(samples: bytes) -> None:
    """Repetition count test (4.4.1).

    A run of C equal samples has at least C // 5 of every fifth sample, whose differences are zeros in a row. Only where
    these are is a run looked for: in random bytes that is rare.
    """
    fifths = samples[::_STRIDE]
    number = int.from_bytes(fifths, "little")
    steps = (number ^ (number >> 8)).to_bytes(len(fifths), "little")
    place = steps.find(_EQUAL_STEPS, 0, len(fifths) - 1)
    while place >= 0:
        at = _STRIDE * place
        around = samples[max(0, at - _REPETITIONS) : at + 2 * _REPETITIONS]
        if samples[at : at + 1] * _REPETITIONS in around:
            raise DeviceUnhealthy(HealthTest.REPETITION_COUNT, f"one byte came {_REPETITIONS} times in a row")
        place = steps.find(_EQUAL_STEPS, place + 1, len(fifths) - 1)


def _count_proportions(state: HealthState, block: bytes) -> tuple[int, int, int]:
    """Adaptive proportion test (4.4.2): finish the open window, take the whole ones, open the next, and return it."""
    start = min(state.left, len(block))
    rest = (len(block) - start) % WINDOW
    stop = len(block) - rest
    sample, seen, left = state.sample, state.seen + block.count(state.sample, 0, start), state.left - start
    firsts = block[start:stop:WINDOW]
    whole = map(block.count, firsts, range(start, stop, WINDOW), range(start + WINDOW, stop + WINDOW, WINDOW))
    most = max(seen, *whole) if firsts else seen
    if rest:
        sample, seen, left = block[stop], block.count(block[stop], stop), WINDOW - rest
    if max(most, seen) >= _PROPORTION:
        raise DeviceUnhealthy(HealthTest.ADAPTIVE_PROPORTION, f"one byte came {_PROPORTION} times in {WINDOW} bytes")
    return sample, seen, left


def _part_of(block: bytes, beginning: bytes) -> bytes:
    """Return what is to be weighed of a block: all of a short one, else a part from a place that its digest names."""
    places = max(0, len(block) - BALANCE_BYTES) + 1
    start = int.from_bytes(beginning[:8]) % places
    return block[start : start + BALANCE_BYTES]


def _weigh_bits(part: bytes, line: int) -> None:
    """Compare the ones among all bits of a part with one half; and those among the bits number `line` of each byte."""
    number = int.from_bytes(part, "little")
    mask = _LINES if len(part) == BALANCE_BYTES else _LINES & (1 << 8 * len(part)) - 1
    for ones, bits in ((number.bit_count(), 8 * len(part)), ((number >> line & mask).bit_count(), len(part))):
        limit = _LIMITS.get(bits) or balance_limit(ALPHA_BITS, bits)
        if abs(ones - bits / 2) > limit:
            raise DeviceUnhealthy(HealthTest.BIT_BALANCE, f"of {bits} bits far more or fewer than one half are ones")


def _look_for_cycles(tail: bytes, block: bytes) -> None:
    probe = block[-_PROBE:]
    before = tail[-_PROBE:]
    if (len(probe) == _PROBE and block.find(probe, 0, -1) >= 0) or (len(before) == _PROBE and before in block):
        raise DeviceUnhealthy(HealthTest.CYCLE, f"{_PROBE} bytes came again within two blocks")
