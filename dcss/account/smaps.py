"""/proc/PID/smaps, smaps_rollup and status: fields by their exact names, kB turned into bytes.

`Pss` is also the beginning of `Pss_Anon`, `Pss_Dirty` and others, and each kernel version adds some: nothing here
matches by prefix. Huge pages of hugetlbfs have fields of their own, which Rss and Pss leave out.
"""

from dataclasses import dataclass

from dcss.account.maps import Vma, parse_line
from dcss.account.proc import read_proc

_KB = 1024


@dataclass(frozen=True, slots=True)
class MappingFields:
    """One mapping of smaps: where, its fields in bytes, and VmFlags' two-letter words."""

    vma: Vma
    fields_bytes: dict[str, int]
    flags: tuple[str, ...]


def parse_fields(text: bytes, wanted: frozenset[bytes] | None = None) -> dict[str, int]:
    """Return the fields given in kB, in bytes, by exact name, or those `wanted`; other lines are left out."""
    fields: dict[str, int] = {}
    for line in text.split(b"\n"):
        name, colon, value = line.partition(b":")
        if wanted is not None and name not in wanted:
            continue
        words = value.split()
        # VmFlags, THPeligible and ProtectionKey have no unit: they are no amounts.
        if colon and len(words) == 2 and words[1] == b"kB" and words[0].isdigit():
            fields[name.decode()] = int(words[0]) * _KB
    return fields


def parse_smaps(text: bytes) -> list[MappingFields]:
    """Parse smaps: a head line as in maps, then `Name: value` lines, for each mapping."""
    mappings: list[MappingFields] = []
    block: list[bytes] = []
    head: bytes | None = None
    for line in text.split(b"\n"):
        words = line.split(maxsplit=1)  # some kernels put tabs behind a name
        if words and not words[0].endswith(b":"):
            if head is not None:
                mappings.append(_mapping(head, block))
            head, block = line, []
        elif line:
            block.append(line)
    if head is not None:
        mappings.append(_mapping(head, block))
    return mappings


def _mapping(head: bytes, block: list[bytes]) -> MappingFields:
    flags = next((line.split()[1:] for line in block if line.startswith(b"VmFlags:")), [])
    return MappingFields(parse_line(head), parse_fields(b"\n".join(block)), tuple(flag.decode() for flag in flags))


def read_smaps(pid: int) -> list[MappingFields]:
    """Read every mapping's books of process `pid`; walks all its page tables."""
    return parse_smaps(read_proc(pid, "smaps"))


def read_rollup(pid: int, wanted: frozenset[bytes] | None = None) -> dict[str, int]:
    """Read the sums over all mappings of process `pid` (Linux 4.14 and later), or those `wanted`, in bytes."""
    return parse_fields(read_proc(pid, "smaps_rollup"), wanted)


def read_status(pid: int, wanted: frozenset[bytes] | None = None) -> dict[str, int]:
    """Read fields of status given in kB, such as VmPTE, in bytes; a zombie has none of them."""
    return parse_fields(read_proc(pid, "status"), wanted)
