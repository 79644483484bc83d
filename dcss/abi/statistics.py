"""The statistics area of a CP: shared memory that CP alone writes, and any program may read (docs/statistics-area.md).

A head says where tables of slots lie; it does not change. Each slot begins with two words. `sequence` is odd while CP
writes the slot, and differs after each write. `check` is the sum of all other words of the slot, modulo 2**64. A copy
is whole if its sequence is even, is the slot's sequence still after the copy was made, and its check is right. The
check matters on machines where another processor may see stores in another order than they were made in.

Numbers are 64 bits in the machine's own byte order; texts are UTF-8, padded with NULs. Version 1.
"""

import sys
from struct import Struct
from typing import Final, Literal, NamedTuple

from dcss.abi.diag08 import DIAGNOSE_08
from dcss.abi.diag64 import DIAGNOSE_64, Diag64
from dcss.abi.layout import (
    I64,
    U64,
    Bytes8,
    Bytes16,
    Bytes32,
    Bytes64,
    Bytes128,
    Bytes720,
    Bytes768,
    Bytes4096,
    struct_of,
)

VERSION: Final = 1
MAGIC: Final = b"DCSSSTAT"
WORD: Final = Struct("=Q")
WORD_MASK: Final = (1 << 64) - 1
_ORDER: Literal["<", ">"] = "<" if sys.byteorder == "little" else ">"

FUNCTIONS: Final = (*(function.name for function in Diag64), "DIAG08", "OTHER")
CONDITION_CODES: Final = 4
HYPERCALL_WORDS: Final = len(FUNCTIONS) * CONDITION_CODES
_FUNCTION_INDEX = {function.value: index for index, function in enumerate(Diag64)}
_DIAG08_INDEX, _OTHER_INDEX = len(Diag64), len(Diag64) + 1


def hypercall_word(diagnose: int, function: int, condition_code: int) -> int:
    """Return which word of a slot's `hypercalls` counts this kind of call; `function` is what Ry holds."""
    if diagnose == DIAGNOSE_64:
        index = _FUNCTION_INDEX.get(function, _OTHER_INDEX)
    else:
        index = _DIAG08_INDEX if diagnose == DIAGNOSE_08 else _OTHER_INDEX
    return index * CONDITION_CODES + condition_code


class AreaHead(NamedTuple):
    """The first bytes of the area, written once; `magic` last. `pid` is CP's process."""

    magic: Bytes8
    version: U64
    size_bytes: U64
    pid: U64
    system_offset: U64
    system_slot_bytes: U64
    system_slots: U64
    guests_offset: U64
    guest_slot_bytes: U64
    guest_slots: U64
    segments_offset: U64
    segment_slot_bytes: U64
    segment_slots: U64
    claims_offset: U64
    claim_slot_bytes: U64
    claim_slots: U64


class SystemSlot(NamedTuple):
    """The system and its CP; one slot. `since` is an instant as ISO 8601 writes it, in UTC.

    `requests` counts what clients asked CP for, `proofs` how often the claims were judged. `left_out` counts segments
    that found no free slot. `helpers` are the ids of processes that belong to no guest, such as the fork server.
    """

    sequence: U64
    check: U64
    requests: U64
    proofs: U64
    left_out: U64
    helper_1: U64
    helper_2: U64
    helper_3: U64
    helper_4: U64
    name: Bytes64
    state: Bytes16
    since: Bytes32
    config: Bytes4096


class GuestSlot(NamedTuple):
    """One guest; a slot for each guest of the plan, in its order. `hypercalls` follow the other fields in the slot.

    `since_seconds` is the wall clock's. `pid` is 0 where the guest has no process; `exit_status` counts with FAILED.
    The four byte counts are the guest's own, as it reported them last, and count with COUNTED. `segments` are the names
    of what it has loaded, with spaces between. Without REASONED, why a guest failed is at the end of its log.
    The addresses are the host's, in the guest's processes: of its absolute storage, and of files at user level.
    """

    sequence: U64
    check: U64
    name: Bytes16
    engine: Bytes16
    state: Bytes16
    flags: U64
    since_seconds: U64
    pid: U64
    restarts: U64
    exit_status: I64
    storage_bytes: U64
    page_cache_bytes: U64
    buffer_bytes: U64
    anonymous_bytes: U64
    module_bytes: U64
    window_start: U64
    window_end: U64
    user_area_start: U64
    user_area_end: U64
    segments: Bytes768
    reason: Bytes720


FAILED: Final = 1 << 0  # `exit_status` is how its last start ended
REASONED: Final = 1 << 1  # it could not run, and `reason` is why
COUNTED: Final = 1 << 2  # it reported its byte counts
CUT: Final = 1 << 3  # `segments` or `reason` has not all of the text
IN_PLACE: Final = 1 << 4  # programs use files where segments lie in the window, too


class SegmentSlot(NamedTuple):
    """One version of a segment that is in storage; a slot whose `file` is 0 is free.

    `name` has the file number behind it where the version was replaced or purged, `file_class` is A, R or P, `type` the
    type of its first range. `users` counts the guests that have it loaded.
    """

    sequence: U64
    check: U64
    file: U64
    name: Bytes16
    file_class: Bytes8
    type: Bytes8
    size_bytes: U64
    start_address: U64
    users: U64
    device: U64
    inode: U64
    shm: Bytes128


class ClaimSlot(NamedTuple):
    """One claim of the last proof; a slot without a name is free. `holds` is 0, 1, or 2 where that is unknown."""

    sequence: U64
    check: U64
    name: Bytes32
    applies: U64
    holds: U64
    judged_at_seconds: U64


HEAD: Final = struct_of(AreaHead, _ORDER)
SYSTEM_SLOT: Final = struct_of(SystemSlot, _ORDER)
GUEST_SLOT: Final = struct_of(GuestSlot, _ORDER)
SEGMENT_SLOT: Final = struct_of(SegmentSlot, _ORDER)
CLAIM_SLOT: Final = struct_of(ClaimSlot, _ORDER)
GUEST_SLOT_BYTES: Final = GUEST_SLOT.size + HYPERCALL_WORDS * WORD.size
HYPERCALLS_WORD: Final = GUEST_SLOT.size // WORD.size  # the first of them, counted in words from the slot's begin
SEGMENT_SLOTS: Final = 256
CLAIM_SLOTS: Final = 16
HELPERS: Final = 4
SEGMENTS_BYTES: Final = 768
REASON_BYTES: Final = 720
REQUESTS_WORD: Final = SystemSlot._fields.index("requests")
PROOFS_WORD: Final = SystemSlot._fields.index("proofs")
LEFT_OUT_WORD: Final = SystemSlot._fields.index("left_out")


def area_head(pid: int, guests: int) -> AreaHead:
    """Return the head of an area for so many guests."""
    places = []
    offset_bytes = HEAD.size
    for slot_bytes, slots in (
        (SYSTEM_SLOT.size, 1),
        (GUEST_SLOT_BYTES, guests),
        (SEGMENT_SLOT.size, SEGMENT_SLOTS),
        (CLAIM_SLOT.size, CLAIM_SLOTS),
    ):
        places += [offset_bytes, slot_bytes, slots]
        offset_bytes += slot_bytes * slots
    return AreaHead(MAGIC, VERSION, offset_bytes, pid, *places)


def is_whole(copy: bytes, sequence: int) -> bool:
    """Return True if a slot's copy is one state of it; `sequence` is the slot's after the copy was made."""
    words = memoryview(copy).cast("Q")
    return not sequence & 1 and words[0] == sequence and (sum(words) - words[1]) & WORD_MASK == words[1]


def encode(text: str) -> bytes:
    """Return a text as a slot holds it; what does not fit is cut off when it is packed."""
    return text.encode("utf-8", "surrogateescape")


def fit(text: str, size_bytes: int) -> tuple[bytes, bool]:
    """Return as much of a text as fits, and whether that is not all of it."""
    encoded = encode(text)
    return encoded[:size_bytes], len(encoded) > size_bytes


def text_of(padded: bytes) -> str:
    """Return the text that a slot holds."""
    return padded.rstrip(b"\0").decode("utf-8", "surrogateescape")
