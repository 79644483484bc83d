"""Every shared mapping is looked at for what could make it writable, not the first and the last only."""

import mmap
import os

import pytest

from dcss.account.maps import read_maps
from dcss.account.memory_map import MappingGroup
from dcss.verify import writable
from dcss.verify.writable import writable_mappings


@pytest.mark.parametrize("links", [True, False])
def test_the_one_in_the_middle_is_found(monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(writable, "_MAP_FILE", "/proc/{}/none/{:x}-{:x}")
    both = os.memfd_create("both")
    os.ftruncate(both, 5 * 8192)
    reader = os.open(f"/proc/self/fd/{both}", os.O_RDONLY)
    # Other offsets of one object: the kernel joins none of them.
    kept = [
        mmap.mmap(reader if part != 2 else both, 4096, prot=mmap.PROT_READ, offset=part * 8192) for part in range(5)
    ]
    try:
        vmas = [vma for vma in read_maps(os.getpid()) if vma.path.startswith(b"/memfd:both")]
        vmas.sort(key=lambda vma: vma.offset_bytes)
        group = MappingGroup.of(vmas)
        (found,) = writable_mappings(os.getpid(), "LIB", group)
    finally:
        for mapping in kept:
            mapping.close()
        os.close(reader)
        os.close(both)
    assert (found.address, found.writable_now) == (vmas[2].start, False)
