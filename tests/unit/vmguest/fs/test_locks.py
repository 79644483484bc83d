"""Record locks against a model that has a lock for each byte; locks go with what had them."""

from contextlib import suppress
from errno import EAGAIN, EDEADLK

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcss.errors import KernelError
from vmguest.fs.anonymous import InternalFileSystem
from vmguest.fs.libfs import SimpleInode
from vmguest.fs.locks import F_RDLCK, F_UNLCK, F_WRLCK, NO_PROCESS, TO_END, Locks, RecordLock, WholeLock
from vmguest.fs.mount import Dentry, Mount

BYTES = 12
OWNERS = ("A", "B", "C")
requests = st.lists(
    st.builds(
        lambda owner, kind, start, size: RecordLock(owner, kind, start, start + size, 1),
        st.sampled_from(OWNERS),
        st.sampled_from([F_RDLCK, F_WRLCK, F_UNLCK]),
        st.integers(0, BYTES - 1),
        st.integers(0, BYTES),
    ),
    max_size=30,
)


def new_file(number: int = 1) -> Dentry:
    system = InternalFileSystem("pipefs")
    return Dentry(Mount(system, 0, (0, b""), "none"), SimpleInode(number, 0o100600))


def held(locks: Locks, file: Dentry, owner: str) -> list[int | None]:
    """Return which kind of lock an owner has on each byte."""
    found = [lock for file_locks in locks._files.values() for lock in file_locks.records]
    return [
        next((lock.kind for lock in found if lock.owner == owner and lock.start <= byte <= lock.end), None)
        for byte in range(2 * BYTES)
    ]


@given(requests)
def test_each_byte_has_the_lock_that_was_asked_for_last(sequence: list[RecordLock]) -> None:
    locks, file = Locks(), new_file()
    unlocked: list[int | None] = [None] * (2 * BYTES)
    model = {owner: unlocked.copy() for owner in OWNERS}
    for wanted in sequence:
        owner = str(wanted.owner)
        others = {kind for each in OWNERS if each != owner for kind in model[each][wanted.start : wanted.end + 1]}
        refused = F_WRLCK in others or (wanted.kind == F_WRLCK and F_RDLCK in others)
        if wanted.kind != F_UNLCK and refused:
            with pytest.raises(KernelError, check=lambda error: error.errno == EAGAIN):
                locks.set_record(file, wanted)
        else:
            locks.set_record(file, wanted)
            kind = None if wanted.kind == F_UNLCK else wanted.kind
            model[owner][wanted.start : wanted.end + 1] = [kind] * (wanted.end + 1 - wanted.start)
        assert {each: held(locks, file, each) for each in OWNERS} == model
    for owner in OWNERS:
        locks.release(file, owner)
    assert locks._files == {}


def test_locks_beside_each_other_are_one() -> None:
    locks, file = Locks(), new_file()
    for start, end in ((0, 4), (10, TO_END), (5, 9)):
        locks.set_record(file, RecordLock("A", F_WRLCK, start, end, 7))
    assert locks.conflict(file, RecordLock("B", F_RDLCK, 6, 6, 8)) == RecordLock("A", F_WRLCK, 0, TO_END, 7)


def test_three_that_would_wait_for_each_other_are_found() -> None:
    locks, file = Locks(), new_file()
    for number, owner in enumerate(OWNERS):
        locks.set_record(file, RecordLock(owner, F_WRLCK, number, number, number))
    locks.begin_wait("thread of A", file, RecordLock("A", F_RDLCK, 1, 1, 0))
    locks.begin_wait("thread of B", file, RecordLock("B", F_RDLCK, 2, 2, 1))
    closing = RecordLock("C", F_RDLCK, 0, 0, 2)
    with pytest.raises(KernelError, check=lambda error: error.errno == EDEADLK):
        locks.begin_wait("thread of C", file, closing)
    locks.end_wait("thread of A")
    locks.begin_wait("thread of C", file, closing)


def test_proc_shows_them() -> None:
    locks, file = Locks(), new_file(77)
    locks.set_record(file, RecordLock("A", F_WRLCK, 5, TO_END, 101))
    locks.set_record(file, RecordLock("B", F_RDLCK, 0, 4, NO_PROCESS))
    locks.set_whole(file, "B", WholeLock(True, 102))
    assert locks.text() == (
        "1: OFDLCK ADVISORY  READ  -1 00:09:77 0 4\n"
        "2: POSIX  ADVISORY  WRITE 101 00:09:77 5 EOF\n"
        "3: FLOCK  ADVISORY  WRITE 102 00:09:77 0 EOF\n"
    )


def test_a_lock_of_the_whole_file_that_is_refused_a_change_is_gone() -> None:
    locks, file = Locks(), new_file()
    locks.set_whole(file, "A", WholeLock(False, 1))
    locks.set_whole(file, "B", WholeLock(False, 2))
    with suppress(KernelError):
        locks.set_whole(file, "A", WholeLock(True, 1))
    locks.set_whole(file, "B", WholeLock(True, 2))
    assert locks.whole_conflict(file, "A", WholeLock(False, 1))
