"""The account of `dcss measure` against the memory that was there before and after: no book of this project's is used.

Two systems that differ by their number of guests are compared, so that CP, the fork server and the segment cancel out.
What the account does not have is slab and stacks of the kernel.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cli_support import Dcss, made_user
from needs_support import needs
from wait_support import wait_until

from benchmarks.framework.control_group import MemoryGroup, memory_group
from benchmarks.framework.kernel_books import KIB, MIB, used_bytes

SEGMENT_BYTES = 16 * MIB
# Of a guest: stacks, VMAs, sockets, inodes of /proc. The group is charged in batches for each processor.
KERNEL_BYTES = 320 * KIB
GROUP_NOISE_BYTES = 4 * MIB
MACHINE_NOISE_BYTES = 48 * MIB
# Other work on the machine moves free memory, as other tests do; an account that is wrong is wrong every time.
SECONDS = 300.0
SHARING = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"
COPYING = "expect: copies, mounts: [{device: dcssblk0, at: /, options: [ro]}]"
MAP = 'run: [{map: "/usr/lib/**/*.so*"}]'


@pytest.fixture
def dcss() -> Iterator[Dcss]:
    """Give the command line of the user of the tests alone: both tests need root."""
    with made_user() as user:
        yield user


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    with memory_group() as group:
        yield group


def fill_tree(dcss: Dcss) -> None:
    """Add a file that makes the segment large beside what a guest takes."""
    line = bytes(range(256)) * 15
    pages = (number.to_bytes(8, "big") * 32 + line for number in range(SEGMENT_BYTES // 4096))
    (dcss.home / "tree/usr/lib/liblarge.so").write_bytes(b"".join(pages))


def account_bytes(measured: dict[str, Any]) -> int:
    """Add up what the account charges guests and segments with."""
    guests = sum(guest["host"]["uss_bytes"] + guest["host"]["page_table_bytes"] for guest in measured["guests"])
    return int(guests + sum(segment["resident_bytes"] for segment in measured["segments"]))


def taken(dcss: Dcss, guests: int, kind: str, used: Callable[[], int], prefix: tuple[str, ...] = ()) -> tuple[int, int]:
    """Return what a system of so many guests takes, by free memory and by its account, and take it down."""
    config = dcss.config(f"name: G, count: {guests}, {kind}, {MAP}")
    before_bytes = used()
    dcss("up", config, "-d", prefix=prefix)
    try:
        fall_bytes = used() - before_bytes
        return fall_bytes, account_bytes(dcss.json("measure", dcss.system))
    finally:
        dcss("down", dcss.system)


def is_right(few: tuple[int, int], many: tuple[int, int], guests: int, *, noise_bytes: int) -> bool:
    """Compare what more guests take, by free memory and by the account."""
    fall_bytes, accounted_bytes = many[0] - few[0], many[1] - few[1]
    return accounted_bytes - noise_bytes <= fall_bytes <= accounted_bytes + noise_bytes + guests * KERNEL_BYTES


@needs("frames", "memory_group")
@pytest.mark.parametrize("kind", [SHARING, COPYING], ids=["sharing", "copying"])
def test_a_control_group_holds_what_the_account_says(dcss: Dcss, group: MemoryGroup, kind: str) -> None:
    fill_tree(dcss)
    few, many = (taken(dcss, guests, kind, group.used_bytes, group.prefix) for guests in (2, 14))
    assert is_right(few, many, 12, noise_bytes=GROUP_NOISE_BYTES), (few, many)


@needs("frames")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "guests"), [(SHARING, 100), (COPYING, 20)], ids=["sharing", "copying"])
def test_free_memory_falls_by_what_the_account_says(dcss: Dcss, kind: str, guests: int) -> None:
    fill_tree(dcss)
    found: list[tuple[tuple[int, int], ...]] = []

    def holds() -> bool:
        few, many = (taken(dcss, count, kind, used_bytes) for count in (2, guests + 2))
        found.append((few, many))
        return is_right(few, many, guests, noise_bytes=MACHINE_NOISE_BYTES)

    wait_until(holds, lambda: f"(fall, account) in bytes of few and of many guests: {found}", seconds=SECONDS)


def test_a_copy_in_each_guest_would_be_noticed() -> None:
    accounted_bytes = 12 * 3 * MIB
    assert is_right((0, 0), (accounted_bytes, accounted_bytes), 12, noise_bytes=GROUP_NOISE_BYTES)
    copied_bytes = accounted_bytes + 12 * SEGMENT_BYTES
    assert not is_right((0, 0), (copied_bytes, accounted_bytes), 12, noise_bytes=GROUP_NOISE_BYTES)
