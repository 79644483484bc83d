"""An address space: what is mapped where, what a store reaches, and what a part of a mapping leaves behind."""

import os
from collections.abc import Iterator
from errno import EACCES, EINVAL, ENOMEM

import numpy as np
import pytest
from mm_support import (
    EXCLUSIVE,
    READ_ONLY,
    RESERVED,
    SEGMENT_PAGES,
    WRITABLE,
    FragmentedPages,
    Host,
    MmStage,
    SparsePages,
    StoredPages,
    host_pages,
    mm_stage,
    stamp,
    user_mappings,
)
from needs_support import needs, skip_for

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.huge import huge_bytes
from dcss.account.pagemap import Pagemap, is_populated
from dcss.errors import KernelError
from dcss.host.mapping import FileMapping, collapse
from vmguest import hostmem
from vmguest.hostmem import ObjectMapping
from vmguest.machine import AttachedStorage
from vmguest.mm import AddressSpace
from vmguest.mm_area import PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE, BusError, SegmentationFaultError
from vmguest.storage import HUGE_PAGE_PAGES, StorageKind

READ_WRITE = PROT_READ | PROT_WRITE


@pytest.fixture
def stage() -> Iterator[MmStage]:
    with mm_stage() as stage:
        yield stage


@pytest.fixture
def mm(stage: MmStage) -> AddressSpace:
    return AddressSpace(stage.machine)


def refused(errno: int) -> pytest.RaisesExc[KernelError]:
    return pytest.raises(KernelError, check=lambda error: error.errno == errno)


def page_at(address: int, number: int = 0) -> int:
    return address + number * PAGE_SIZE


def test_a_segments_own_pages_are_at_the_user_address(stage: MmStage, mm: AddressSpace) -> None:
    address = mm.map(stage.file(READ_ONLY), 3, 4, PROT_READ | PROT_EXEC)
    assert bytes(hostmem.view(address, PAGE_SIZE)) == stamp(READ_ONLY, 3)
    shown = [Host("r--s", stage.inode(READ_ONLY), page) for page in range(3, 7)]
    assert host_pages(address >> PAGE_SHIFT, 4) == shown
    assert mm.read(page_at(address, 3) + 16, 16) == stamp(READ_ONLY, 6)[16:32]
    assert (mm.file_pages, mm.anonymous_pages) == (4, 0)


def test_unmapping_a_part_leaves_both_ends(stage: MmStage, mm: AddressSpace) -> None:
    file = stage.file(READ_ONLY)
    address = mm.map(file, 0, 10)
    mm.unmap(page_at(address, 3), 4)
    assert [(area.first_page, area.pages, area.file_page) for area in mm.areas] == [
        (address >> PAGE_SHIFT, 3, 0),
        ((address >> PAGE_SHIFT) + 7, 3, 7),
    ]
    assert host_pages(address >> PAGE_SHIFT, 10)[3:7] == [RESERVED] * 4
    assert mm.read(page_at(address, 7), 16) == stamp(READ_ONLY, 7)[:16]
    with pytest.raises(SegmentationFaultError):
        mm.read(page_at(address, 2), PAGE_SIZE + 1)
    assert file.holds == 2
    assert mm.map(stage.file(READ_ONLY), 3, 4) == page_at(address, 3)  # the addresses can be had again
    mm.unmap(address, 10)
    assert (mm.areas, file.holds) == ((), 0)


def test_a_private_store_copies_one_page(stage: MmStage, mm: AddressSpace) -> None:
    address = mm.map(stage.file(READ_ONLY), 0, 3, READ_WRITE, shared=False)
    free_bytes = stage.machine.storage.free_bytes
    mm.write(page_at(address, 1) + 5, b"own")
    assert mm.read(page_at(address, 1), 16) == stamp(READ_ONLY, 1)[:5] + b"own" + stamp(READ_ONLY, 1)[8:16]
    assert stage.object_bytes(READ_ONLY, 1, 16) == stamp(READ_ONLY, 1)[:16]
    assert mm.anonymous_pages == 1
    assert stage.machine.storage.free_bytes == free_bytes - PAGE_SIZE
    segment = stage.inode(READ_ONLY)
    shown = [Host("r--s", segment, 0), RESERVED, Host("r--s", segment, 2)]
    assert host_pages(address >> PAGE_SHIFT, 3) == shown
    mm.protect(address, 3, PROT_READ)
    mm.protect(address, 3, PROT_NONE)
    mm.protect(address, 3, PROT_READ)
    assert mm.read(page_at(address, 1) + 5, 3) == b"own"
    assert host_pages(address >> PAGE_SHIFT, 3) == shown
    mm.unmap(address, 3)
    assert (mm.anonymous_pages, stage.machine.storage.free_bytes) == (0, free_bytes)


def test_a_shared_store_reaches_every_mapping_of_a_writable_segment(stage: MmStage, mm: AddressSpace) -> None:
    address = mm.map(stage.file(WRITABLE), 0, 2, READ_WRITE)
    other = AddressSpace(stage.machine)
    also = other.map(stage.file(WRITABLE), 1, 1)
    mm.write(page_at(address, 1), b"all see it")
    assert other.read(also, 10) == stage.object_bytes(WRITABLE, 1, 10) == b"all see it"
    assert host_pages(address >> PAGE_SHIFT, 1) == [Host("rw-s", stage.inode(WRITABLE), 0)]
    assert (mm.anonymous_pages, other.anonymous_pages) == (0, 0)
    mm.protect(address, 2, PROT_READ)
    assert host_pages(address >> PAGE_SHIFT, 1) == [Host("r--s", stage.inode(WRITABLE), 0)]
    with pytest.raises(SegmentationFaultError):
        mm.write(address, b"x")


def test_a_read_only_segment_takes_no_shared_stores(stage: MmStage, mm: AddressSpace) -> None:
    file = stage.file(READ_ONLY)
    with refused(EACCES):
        mm.map(file, 0, 2, READ_WRITE)
    assert (mm.areas, file.holds) == ((), 0)
    address = mm.map(file, 0, 2)
    with refused(EACCES):
        mm.protect(address, 2, READ_WRITE)
    assert bytes(hostmem.view(address, 16)) == stamp(READ_ONLY, 0)[:16]


@pytest.mark.parametrize("where", ["exclusive segment", "real storage"])
def test_what_the_host_can_map_once_lies_in_place(stage: MmStage, mm: AddressSpace, where: str) -> None:
    first, file = (EXCLUSIVE, stage.file(EXCLUSIVE)) if where == "exclusive segment" else (0, stage.frames())
    shared = mm.map(file, 0, 2, READ_WRITE)
    private = mm.map(file, 0, 2, READ_WRITE, shared=False)
    assert host_pages(shared >> PAGE_SHIFT, 2) == [RESERVED] * 2
    assert mm.read(shared, 2 * PAGE_SIZE) == stamp(first, 0) + stamp(first, 1)
    mm.write(shared, b"both")
    assert mm.read(private, 4) == b"both"
    mm.write(private, b"mine")
    assert (mm.read(private, 4), mm.read(shared, 4), mm.anonymous_pages) == (b"mine", b"both", 1)


def test_a_hole_is_the_zero_page_until_a_private_store(stage: MmStage, mm: AddressSpace) -> None:
    address = mm.map(StoredPages(0, 3, StorageKind.HOLE), 0, 3, READ_WRITE, shared=False)
    assert host_pages(address >> PAGE_SHIFT, 3) == [Host("r--p", 0, 0)] * 3
    assert (mm.read(address, 3 * PAGE_SIZE), mm.anonymous_pages) == (bytes(3 * PAGE_SIZE), 0)
    mm.write(page_at(address, 1), b"no hole")
    assert mm.read(page_at(address, 1), 8) == b"no hole\0"
    assert (mm.read(address, PAGE_SIZE), mm.anonymous_pages) == (bytes(PAGE_SIZE), 1)


def test_a_hole_has_no_page_tables_until_it_is_read(stage: MmStage, mm: AddressSpace) -> None:
    """Those of a hole of 64 GiB would take 128 MiB of the host."""
    address = mm.map(StoredPages(0, 100, StorageKind.HOLE), 0, 100, PROT_READ)
    with Pagemap(os.getpid()) as pagemap:
        assert not is_populated(pagemap.read(address >> PAGE_SHIFT, 100)).any()
        assert bytes(hostmem.view(page_at(address, 7), 8)) == bytes(8)
        assert np.flatnonzero(is_populated(pagemap.read(address >> PAGE_SHIFT, 100))).tolist() == [7]


def test_beyond_the_end_of_the_file_is_sigbus(stage: MmStage, mm: AddressSpace) -> None:
    file = stage.file(READ_ONLY, 2)
    address = mm.map(file, 1, 3)
    assert mm.read(address, PAGE_SIZE) == stamp(READ_ONLY, 1)
    with pytest.raises(BusError, match="page 2 lies beyond the end"):
        mm.read(page_at(address, 1), 1)
    file.pages = 3  # a file that grows under its mapping
    assert mm.read(page_at(address, 1), 8) == stamp(READ_ONLY, 2)[:8]


def test_anonymous_memory_takes_storage_when_it_is_written(stage: MmStage, mm: AddressSpace) -> None:
    address = mm.map(None, 0, 8, READ_WRITE, shared=False)
    assert (mm.read(address, 8 * PAGE_SIZE), mm.anonymous_pages) == (bytes(8 * PAGE_SIZE), 0)
    mm.write(page_at(address, 3), b"x" * 2 * PAGE_SIZE)
    assert (mm.anonymous_pages, mm.file_pages) == (2, 0)
    mm.unmap(page_at(address, 3), 1)
    assert mm.anonymous_pages == 1
    assert mm.read(page_at(address, 4), PAGE_SIZE) == b"x" * PAGE_SIZE
    many = mm.map(None, 0, 1000, READ_WRITE, shared=False)
    with refused(ENOMEM):
        list(mm.views(many, 1000 * PAGE_SIZE, for_write=True))
    assert mm.anonymous_pages == 1


def test_a_fixed_address_replaces_what_is_there(stage: MmStage, mm: AddressSpace) -> None:
    address = mm.map(stage.file(READ_ONLY), 0, 6)
    fixed = page_at(address, 2)
    assert mm.map(stage.file(WRITABLE), 9, 2, address=fixed) == fixed
    assert mm.read(fixed, PAGE_SIZE) == stamp(WRITABLE, 9)
    assert mm.read(page_at(address, 4), PAGE_SIZE) == stamp(READ_ONLY, 4)
    mm.map(None, 0, 6, READ_WRITE, shared=False, address=address)
    assert mm.read(address, 6 * PAGE_SIZE) == bytes(6 * PAGE_SIZE)
    assert len(mm.areas) == 1


def test_addresses_that_are_not_to_be_had(stage: MmStage, mm: AddressSpace) -> None:
    taken = AddressSpace(stage.machine).map(stage.file(READ_ONLY), 0, 1)
    for address in (taken, 0, stage.machine.reservation.user_area + stage.machine.reservation.user_area_bytes):
        with refused(ENOMEM):
            mm.map(stage.file(READ_ONLY), 0, 1, address=address)
    assert bytes(hostmem.view(taken, 16)) == stamp(READ_ONLY, 0)[:16]
    with refused(EINVAL):
        mm.map(stage.file(READ_ONLY), 0, 1, address=taken + 1)
    with refused(EINVAL):
        mm.map(stage.file(READ_ONLY), -1, 1)


def test_protection_of_a_part(stage: MmStage, mm: AddressSpace) -> None:
    address = mm.map(stage.file(READ_ONLY), 0, 4)
    mm.protect(page_at(address, 1), 2, PROT_NONE)
    assert host_pages(address >> PAGE_SHIFT, 4)[1:3] == [RESERVED] * 2
    with pytest.raises(SegmentationFaultError, match="its protection is 0"):
        mm.read(page_at(address, 1), 1)
    assert mm.read(page_at(address, 3), PAGE_SIZE) == stamp(READ_ONLY, 3)
    mm.protect(address, 4, PROT_READ)
    assert mm.read(address, 4 * PAGE_SIZE) == b"".join(stamp(READ_ONLY, page) for page in range(4))
    mm.unmap(page_at(address, 2), 1)
    with refused(ENOMEM):  # what lies before the gap has changed, as on Linux
        mm.protect(address, 4, PROT_NONE)
    assert [area.protection for area in mm.areas] == [PROT_NONE, PROT_NONE, PROT_READ]


def test_files_that_adjoin_in_a_segment_are_one_mapping_of_the_host(stage: MmStage, mm: AddressSpace) -> None:
    pieces = [StoredPages(READ_ONLY + first, 7) for first in range(0, 70, 7)]
    addresses = {file.page_frame: mm.map(file, 0, 7) for file in pieces[::2] + pieces[1::2]}
    (mapping,) = user_mappings(stage, READ_ONLY)
    assert (mapping.start >> PAGE_SHIFT, mapping.pages) == (addresses[READ_ONLY] >> PAGE_SHIFT, 70)
    for frame, address in addresses.items():
        assert mm.read(address, PAGE_SIZE) == stamp(READ_ONLY, frame - READ_ONLY)


def test_the_host_maps_together_what_adjoins(stage: MmStage, mm: AddressSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    map_one = ObjectMapping.map

    def noted(mapping: ObjectMapping) -> None:
        calls.append((mapping.offset, mapping.size_bytes))
        map_one(mapping)

    monkeypatch.setattr(ObjectMapping, "map", noted)
    with mm.mapped_together():
        addresses = [mm.map(StoredPages(READ_ONLY + first, 7), 0, 7) for first in (14, 0, 30, 7)]
        assert (calls, user_mappings(stage, READ_ONLY)) == ([], [])
    assert calls == [(0, 21 * PAGE_SIZE), (30 * PAGE_SIZE, 7 * PAGE_SIZE)]
    assert [mm.read(address, 32) for address in addresses] == [stamp(READ_ONLY, first)[:32] for first in (14, 0, 30, 7)]
    with Pagemap(os.getpid()) as pagemap:
        assert all(is_populated(pagemap.read(address >> PAGE_SHIFT, 7)).all() for address in addresses)
    mm.map(StoredPages(READ_ONLY + 40, 2), 0, 2)
    assert len(calls) == 3


@needs("huge_pages")
@pytest.mark.parametrize("what", ["unmap", "protect", "copy", "changed"])
def test_pages_beside_what_changes_in_a_huge_page_stay_present(stage: MmStage, mm: AddressSpace, what: str) -> None:
    mapping = FileMapping(stage.descriptors[READ_ONLY], SEGMENT_PAGES * PAGE_SIZE)
    error = collapse(mapping)
    assert mapping.view[:4] == stamp(READ_ONLY, 0)[:4]
    if not huge_bytes(os.getpid(), {mapping.address})[mapping.address]:  # the check before may have had the last one
        skip_for("huge_pages", f"a huge page: {os.strerror(error)}")
    files = [StoredPages(READ_ONLY + first, 64) for first in range(0, SEGMENT_PAGES, 64)]
    with mm.mapped_together():
        addresses = [mm.map(file, 0, 64, shared=False, protection=READ_WRITE) for file in files]
    changed = addresses[3]
    assert huge_bytes(os.getpid(), {addresses[0]}) == {addresses[0]: HUGE_PAGE_PAGES * PAGE_SIZE}  # the rest are holes
    if what == "unmap":
        mm.unmap(changed, 64)
    elif what == "protect":
        mm.protect(changed, 64, PROT_NONE)
    elif what == "copy":
        mm.write(changed, b"new")
    else:
        mm.pages_changed(files[3].mappings, 0, 1)
    with Pagemap(os.getpid()) as pagemap:
        for address in addresses:
            assert address == changed or is_populated(pagemap.read(address >> PAGE_SHIFT, 64)).all()
    mapping.close()


def test_a_file_that_is_mapped_again_goes_elsewhere(stage: MmStage, mm: AddressSpace) -> None:
    file = stage.file(READ_ONLY)
    first, again = mm.map(file, 0, 7), mm.map(file, 3, 7)
    assert not first <= again < page_at(first, 7)
    assert mm.read(again, PAGE_SIZE) == stamp(READ_ONLY, 3)
    mm.unmap(first, 7)
    assert mm.map(file, 0, 7) == first


@pytest.mark.parametrize("first", [0, 1, 100, HUGE_PAGE_PAGES + 1])
def test_addresses_have_the_place_in_huge_pages_that_the_object_has(
    stage: MmStage, mm: AddressSpace, first: int
) -> None:
    file = stage.file(READ_ONLY)
    addresses = [mm.map(file, first, SEGMENT_PAGES - first) for _ in range(2)]
    assert [(address >> PAGE_SHIFT) % HUGE_PAGE_PAGES for address in addresses] == [first % HUGE_PAGE_PAGES] * 2


def test_a_segment_off_a_boundary_of_huge_pages(stage: MmStage, mm: AddressSpace) -> None:
    stage.machine.attach(AttachedStorage(0x50100, 1024, stage.descriptors[WRITABLE], 0, private=False, writable=True))
    for pages in (1024, 3):
        address = mm.map(StoredPages(0x50100), 0, pages)
        assert mm.read(address, PAGE_SIZE) == stamp(WRITABLE, 0)
        assert pages < HUGE_PAGE_PAGES or (address >> PAGE_SHIFT) % HUGE_PAGE_PAGES == 0


def test_a_file_with_holes_does_not_take_the_places_of_others(stage: MmStage, mm: AddressSpace) -> None:
    sparse = mm.map(SparsePages(READ_ONLY + 8, 16, data_pages=2), 0, 16)
    assert mm.read(page_at(sparse, 1), 32) == stamp(READ_ONLY, 9)[:32]
    assert mm.read(page_at(sparse, 2), 14 * PAGE_SIZE) == bytes(14 * PAGE_SIZE)
    before, behind = mm.map(StoredPages(READ_ONLY, 8), 0, 8), mm.map(StoredPages(READ_ONLY + 10, 8), 0, 8)
    assert behind - before == 10 * PAGE_SIZE


def test_a_fragmented_file_lies_as_its_longest_run_does(stage: MmStage, mm: AddressSpace) -> None:
    first = mm.map(StoredPages(READ_ONLY, 4), 0, 4)
    # As mke2fs lays it: twelve blocks, an indirect block, the rest.
    address = mm.map(FragmentedPages([(READ_ONLY + 4, 12), (READ_ONLY + 17, 40)]), 0, 52)
    assert page_at(address, 12) - first == 17 * PAGE_SIZE
    assert mm.read(page_at(address, 11), 32) == stamp(READ_ONLY, 15)[:32]
    assert mm.read(page_at(address, 12), 32) == stamp(READ_ONLY, 17)[:32]
    assert mm.map(StoredPages(READ_ONLY + 57, 4), 0, 4) == page_at(address, 52)  # the file behind it adjoins


def test_the_end_of_a_task_gives_everything_back(stage: MmStage, mm: AddressSpace) -> None:
    free_bytes, user_pages = stage.machine.storage.free_bytes, stage.machine.user_area.free_pages
    file = stage.file(READ_ONLY)
    for number in range(3):
        address = mm.map(file, number, 5, READ_WRITE, shared=False)
        mm.write(address, b"x")
    mm.unmap_all()
    assert (file.holds, mm.areas, mm.anonymous_pages) == (0, (), 0)
    assert (stage.machine.storage.free_bytes, stage.machine.user_area.free_pages) == (free_bytes, user_pages)
