"""Descriptor tables: close-on-exec marks, duplicates and their numbers, and what fork and exec leave."""

from collections.abc import Callable
from errno import EBADF, EINVAL

import pytest
from program_support import errno_of

from vmguest.fs.descriptors import Descriptors
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_CLOEXEC, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC, O_WRONLY
from vmguest.fs.pipe import make_pipe


@pytest.fixture
def table(vfs: Vfs) -> Descriptors:
    return Descriptors(vfs, limit=8)


def test_a_mark_belongs_to_a_number_and_not_to_the_open_file(table: Descriptors) -> None:
    marked = table.open(b"/dev/null", O_RDONLY | O_CLOEXEC)
    assert table.closes_on_exec(marked)
    assert not table.closes_on_exec(table.dup(marked))
    assert not table.closes_on_exec(table.dup2(marked, 5))
    assert table.closes_on_exec(table.dup(marked, 3, close_on_exec=True))
    assert table.closes_on_exec(table.dup3(marked, 6, O_CLOEXEC))
    assert table.dup2(6, 6) == 6
    assert table.closes_on_exec(6)
    assert list(table) == [0, 1, 3, 5, 6]


def test_a_number_that_is_used_again_is_not_marked_any_more(table: Descriptors, vfs: Vfs) -> None:
    reading, writing = make_pipe(vfs)
    assert table.install(reading, close_on_exec=True) == 0
    table.close(0)
    assert table.install(writing) == 0
    assert not table.closes_on_exec(0)
    table.set_close_on_exec(0, wanted=True)
    table.dup2(table.dup(0), 0)
    assert not table.closes_on_exec(0)


def test_exec_closes_what_is_marked_and_fork_keeps_the_marks(table: Descriptors, vfs: Vfs) -> None:
    for end in make_pipe(vfs):
        table.install(end)
    table.set_close_on_exec(1, wanted=True)
    table.dup(0)
    child = table.fork()
    child.close_marked()
    assert list(child) == [0, 2]
    assert list(table) == [0, 1, 2]
    table.set_close_on_exec(1, wanted=False)
    table.close_marked()
    assert list(table) == [0, 1, 2]
    table.close_all()
    assert child.get(0).poll() == 0x10  # the last writing end is closed: POLLHUP


def test_dup3_refuses_what_dup2_allows(table: Descriptors) -> None:
    table.open(b"/dev/null")
    refused: list[tuple[Callable[[], object], int]] = [
        (lambda: table.dup3(0, 0), EINVAL),
        (lambda: table.dup3(0, 1, O_TRUNC), EINVAL),
        (lambda: table.dup3(0, 8), EBADF),
        (lambda: table.dup3(1, 2), EBADF),
        (lambda: table.closes_on_exec(1), EBADF),
        (lambda: table.set_close_on_exec(1, wanted=True), EBADF),
    ]
    assert [errno_of(call) for call, _ in refused] == [wanted for _, wanted in refused]


def test_flags_of_an_open_file_are_those_that_stay(table: Descriptors) -> None:
    number = table.open(b"/tmp/x", O_WRONLY | O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC, mode=0o600)
    opened = table.get(number)
    assert opened.flags == O_WRONLY
    assert opened.dentry.inode.mode & 0o777 == 0o600
