"""What follows from a process's mappings alone: which are read whole, and which an object backs."""

import pytest

from dcss.account.maps import Vma
from dcss.account.memory_map import MemoryMap
from dcss.account.targets import AddressRange


def vma(start_page: int, pages: int, *, inode: int = 0, shared: bool = False, path: bytes = b"") -> Vma:
    permissions = "rw-s" if shared else "rw-p"
    return Vma(start_page << 12, (start_page + pages) << 12, permissions, 0, 1 if inode else 0, inode, path)


def test_big_reservations_are_looked_at_apart() -> None:
    private, file = 1 << 12, 1 << 18
    vmas = [
        vma(0, private - 1),
        vma(1 << 20, private),
        vma(2 << 20, file - 1, inode=7),
        vma(3 << 20, file, inode=7),
        vma(1 << 51, 1, path=b"[vsyscall]"),
    ]
    dense = [(0, private - 1), (2 << 20, file - 1)]
    sparse = [(1 << 20, private), (3 << 20, file)]
    assert MemoryMap.of(vmas).ranges() == (dense, sparse)


def test_big_reservations_side_by_side_are_looked_at_together() -> None:
    private = 1 << 12
    vmas = [vma(0, private), vma(private, 2 * private), vma(3 * private, 8), vma(3 * private + 8, private)]
    sparse = [(0, 3 * private), (3 * private + 8, private)]
    assert MemoryMap.of(vmas).ranges() == ([(3 * private, 8)], sparse)


@pytest.mark.parametrize(("more", "all_sparse"), [(0, False), (1, True)])
def test_where_small_mappings_are_many_none_is_read_whole(more: int, all_sparse: bool) -> None:
    half = 1 << 18
    vmas = [vma(number << 20, half - 8, inode=7) for number in range(2)] + [vma(1 << 40, 16 + more), vma(5 << 20, 4096)]
    dense, sparse = MemoryMap.of(vmas).ranges()
    ranges = [(each.start >> 12, each.pages) for each in vmas]
    assert (dense, sparse) == (([], sorted(ranges)) if all_sparse else (ranges[:3], ranges[3:]))


def test_mappings_by_the_object_that_backs_them() -> None:
    one, other = vma(0, 4, inode=7, shared=True), vma(8, 4, inode=8, shared=True)
    written, plain = vma(16, 4, inode=7), vma(24, 4)
    found = MemoryMap.of([one, other, written, plain])
    assert set(found.objects) == {(1, 7), (1, 8)}
    assert found.of_object((1, 7)).vmas == (one, written)
    assert found.of_object((1, 9)).vmas == ()
    assert found.of_objects(frozenset({(1, 8), (0, 0)})).vmas == (other,)
    assert found.complete
    only = found.only(frozenset({(1, 7)}))
    assert (only.vmas, only.complete) == ((one, written), False)
    rest = found.without_shared(frozenset({(1, 7)}))
    assert (rest.vmas, rest.complete) == ((other, written, plain), False)


def test_mappings_that_touch_a_range_are_cut_to_it() -> None:
    mapping = vma(16, 8, inode=7)._replace(offset_bytes=0x5000)
    found = MemoryMap.of([mapping])

    def within(first: int, end: int) -> list[tuple[int, int, int]]:
        group = found.of_object((1, 7), AddressRange(first << 12, end << 12))
        rows = zip(group.first_pages.tolist(), group.end_pages.tolist(), group.shift_pages.tolist(), strict=True)
        return list(rows)

    shift = 5 - 16
    assert within(0, 99) == [(16, 24, shift)]
    assert within(18, 20) == [(18, 20, shift)]
    assert within(0, 17) == [(16, 17, shift)]
    assert within(23, 99) == [(23, 24, shift)]
    assert within(0, 16) == within(24, 99) == []
