"""Numbers as short text for a page's script: runs of equal ones, in LEB128, in base64."""

from base64 import b64encode
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

_BITS = 7


def encode_numbers(numbers: Numbers) -> str:
    """Return numbers from -1 on, which stands for none, in LEB128 and base64; each is written as one more."""
    return b64encode(_leb128((numbers + 1).astype(np.uint64))).decode("ascii")


def encode_runs(values: Numbers) -> str:
    """Return numbers as pairs of how many equal ones follow each other and which number it is, encoded."""
    lengths, numbers = runs_of(values)
    return encode_numbers(np.column_stack((lengths, numbers)).ravel())


def encode_column(values: Iterable[int | None]) -> str:
    """Return numbers and None as `encode_numbers` does or, where it is shorter, as runs of them behind an `=`."""
    numbers = _with_none(values)
    lengths, _ = runs_of(numbers)
    return f"={encode_runs(numbers)}" if 2 * len(lengths) < len(numbers) else encode_numbers(numbers - 1)


def runs_of(values: Numbers) -> tuple[Numbers, Numbers]:
    """Return how long each run of equal numbers is, and its number."""
    if not len(values):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(values)) + 1))
    lengths = np.diff(np.concatenate((starts, [len(values)])))
    return lengths.astype(np.int64), values[starts].astype(np.int64)


def _with_none(values: Iterable[int | None]) -> Numbers:
    """Return numbers as one more than they are, and None as 0."""
    return np.fromiter((0 if value is None else value + 1 for value in values), np.int64)


def _leb128(numbers: NDArray[np.uint64]) -> bytes:
    """Encode each number in groups of seven bits, the lowest first; all but its last group have bit 7 set."""
    sizes = np.ones(len(numbers), np.int64)
    for shift in range(_BITS, 64, _BITS):
        sizes += (numbers >> np.uint64(shift)) > 0
    ends = np.cumsum(sizes)
    text = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for group in range(int(sizes.max(initial=0))):
        has = sizes > group
        bits = (numbers[has] >> np.uint64(_BITS * group)) & np.uint64(0x7F)
        more = np.where(sizes[has] > group + 1, 0x80, 0)
        text[(ends - sizes)[has] + group] = bits.astype(np.uint8) | more.astype(np.uint8)
    return text.tobytes()
