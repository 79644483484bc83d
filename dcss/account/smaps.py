"""/proc/PID/smaps, smaps_rollup and status: fields by their exact names, kB turned into bytes.

`Pss` is also the beginning of `Pss_Anon`, `Pss_Dirty` and others, and each kernel version adds some: nothing here
matches by prefix. Huge pages of hugetlbfs have fields of their own, which Rss and Pss leave out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dcss.account.maps import Vma, parse_line
from dcss.account.proc import read_proc
from dcss.errors import LaunchError, MeasurementDeniedError

_KB = 1024
_PRIVATE = frozenset({b"Private_Clean", b"Private_Dirty"})
_HEAD = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ .*$", re.MULTILINE)
# VmFlags, THPeligible and ProtectionKey have no unit: they are no amounts. Some kernels put tabs behind a name.
_AMOUNT = re.compile(rb"^([^:\n]+):[ \t]*([0-9]+)[ \t]+kB[ \t]*$", re.MULTILINE)


class Amounts(Mapping[str, int]):
    """The fields of one mapping that are given in kB, in bytes; parsed when the first one is asked for."""

    __slots__ = ("_fields", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._fields: dict[str, int] | None = None

    def _parsed(self) -> dict[str, int]:
        if self._fields is None:
            self._fields = parse_fields(self._text)
        return self._fields

    def __getitem__(self, name: str) -> int:
        return self._parsed()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())


@dataclass(frozen=True, slots=True)
class MappingFields:
    """One mapping of smaps: where, its fields in bytes, and VmFlags' two-letter words."""

    vma: Vma
    fields_bytes: Mapping[str, int]
    flags: tuple[str, ...]


def parse_fields(text: bytes, wanted: frozenset[bytes] | None = None) -> dict[str, int]:
    """Return the fields given in kB, in bytes, by exact name, or those `wanted`; other lines are left out."""
    return {
        name.decode(): int(amount) * _KB for name, amount in _AMOUNT.findall(text) if wanted is None or name in wanted
    }


def parse_smaps(text: bytes) -> list[MappingFields]:
    """Parse smaps: a head line as in maps, then `Name: value` lines, for each mapping."""
    heads = list(_HEAD.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return [_mapping(head[0], text[head.end() : end]) for head, end in zip(heads, ends, strict=bool(heads))]


def _mapping(head: bytes, block: bytes) -> MappingFields:
    _, _, flags = block.partition(b"\nVmFlags:")
    return MappingFields(parse_line(head), Amounts(block), tuple(flags.partition(b"\n")[0].decode().split()))


def read_smaps(pid: int) -> list[MappingFields]:
    """Read every mapping's books of process `pid`; walks all its page tables."""
    return parse_smaps(read_proc(pid, "smaps"))


def read_rollup(pid: int, wanted: frozenset[bytes] | None = None) -> dict[str, int]:
    """Read the sums over all mappings of process `pid` (Linux 4.14 and later), or those `wanted`, in bytes."""
    return parse_fields(read_proc(pid, "smaps_rollup"), wanted)


def private_bytes(pid: int) -> int | None:
    """Return how much memory only process `pid` maps; None where it has ended, or this user may not see it."""
    try:
        rollup = read_rollup(pid, _PRIVATE)
        return rollup["Private_Clean"] + rollup["Private_Dirty"]
    except (LaunchError, MeasurementDeniedError, KeyError):
        return None


def read_status(pid: int, wanted: frozenset[bytes] | None = None) -> dict[str, int]:
    """Read fields of status given in kB, such as VmPTE, in bytes; a zombie has none of them."""
    return parse_fields(read_proc(pid, "status"), wanted)
