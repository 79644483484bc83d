"""Which mappings lie in huge pages, and why a tmpfs gives none."""

import errno
import os
from pathlib import Path

import pytest
from cp_support import open_descriptors

from dcss.account import huge
from dcss.account.huge import huge_bytes, no_huge_pages_because
from dcss.account.maps import Vma
from dcss.account.smaps import MappingFields

SHM = Path("/dev/shm")


def test_mappings_are_found_by_where_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    vma = Vma(0x1000, 0x9000, "r--s", 0, 1, 2, b"/dev/shm/x")
    books = [
        MappingFields(vma, {"ShmemPmdMapped": 2 << 20, "FilePmdMapped": 5}, ()),
        MappingFields(vma._replace(start=0x9000), {"ShmemPmdMapped": 4 << 20}, ()),
        MappingFields(vma._replace(start=0xA000), {"FilePmdMapped": 5}, ()),
    ]
    asked: list[int] = []

    def read(pid: int) -> list[MappingFields]:
        asked.append(pid)
        return books

    monkeypatch.setattr(huge, "read_smaps", read)
    assert huge_bytes(7, {0x1000, 0xA000, 0xB000}) == {0x1000: 2 << 20, 0xA000: None, 0xB000: None}
    assert asked == [7]
    assert huge_bytes(7, ()) == {}
    assert asked == [7]  # to read the books of all mappings takes long


@pytest.mark.parametrize(
    ("found_bytes", "collapse_errno", "reason"),
    [
        (2 << 20, 0, None),
        (2 << 20, errno.EINVAL, None),
        (None, errno.EINVAL, "/proc/PID/smaps has no ShmemPmdMapped (Linux 4.8)"),
        (0, errno.EINVAL, "madvise(MADV_COLLAPSE): Invalid argument"),
        (0, 0, "the kernel made none"),
    ],
)
def test_why_there_are_none(
    found_bytes: int | None, collapse_errno: int, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huge, "collapse", lambda _: collapse_errno)
    monkeypatch.setattr(huge, "huge_bytes", lambda _, addresses: dict.fromkeys(addresses, found_bytes))
    before = open_descriptors()
    assert no_huge_pages_because(SHM) == reason
    assert open_descriptors() == before


def test_a_directory_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert no_huge_pages_because(Path("/nonexistent")) == "/nonexistent: No such file or directory"

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(huge, "reserve_pages", full)
    assert no_huge_pages_because(SHM) == "/dev/shm: No space left on device"
