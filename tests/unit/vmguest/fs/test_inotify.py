"""An inotify whose events nobody reads keeps a limited number, and says that some were lost."""

from errno import EAGAIN, EINVAL
from struct import iter_unpack

import pytest
from program_support import errno_of, read

from vmguest.fs.inotify import _MOST_EVENTS, Inotify, new_inotify
from vmguest.fs.namei import Vfs, create, mkdir, unlink
from vmguest.fs.open import FileDescription
from vmguest.fs.watch_events import IN_CREATE, IN_DELETE, IN_IGNORED, IN_Q_OVERFLOW

EVENT = ">iIII16s"


@pytest.fixture
def watcher(vfs: Vfs) -> FileDescription:
    mkdir(vfs, b"/tmp/watched")
    return new_inotify(vfs)


def inotify(watcher: FileDescription) -> Inotify:
    assert isinstance(watcher.file, Inotify)
    return watcher.file


def test_too_many_events_are_lost_and_told(vfs: Vfs, watcher: FileDescription) -> None:
    inotify(watcher).watch(vfs.resolve(b"/tmp/watched"), IN_CREATE | IN_DELETE)
    for _ in range(_MOST_EVENTS // 2 + 5):
        create(vfs, b"/tmp/watched/file")
        unlink(vfs, b"/tmp/watched/file")
    content = read(watcher, 10_000_000)
    assert len(content) == _MOST_EVENTS * 32 + 16
    masks = [mask for _, mask, *_ in iter_unpack(EVENT, content[:-16])]
    assert masks == [IN_CREATE, IN_DELETE] * (_MOST_EVENTS // 2)
    assert list(iter_unpack(">iIII", content[-16:])) == [(-1, IN_Q_OVERFLOW, 0, 0)]
    create(vfs, b"/tmp/watched/file")
    assert len(read(watcher)) == 32


def test_events_that_are_the_same_are_one(vfs: Vfs, watcher: FileDescription) -> None:
    inotify(watcher).watch(vfs.resolve(b"/tmp/watched"), IN_CREATE)
    for _ in range(3):
        create(vfs, b"/tmp/watched/file")
        unlink(vfs, b"/tmp/watched/file")
    assert len(read(watcher)) == 32
    assert errno_of(lambda: read(watcher)) == EAGAIN


def test_a_watch_that_was_ended_tells_nothing_more(vfs: Vfs, watcher: FileDescription) -> None:
    number = inotify(watcher).watch(vfs.resolve(b"/tmp/watched"), IN_CREATE)
    inotify(watcher).unwatch(number)
    create(vfs, b"/tmp/watched/file")
    assert list(iter_unpack(">iIII", read(watcher))) == [(number, IN_IGNORED, 0, 0)]
    assert errno_of(lambda: inotify(watcher).unwatch(number)) == EINVAL


def test_what_is_closed_watches_nothing(vfs: Vfs, watcher: FileDescription) -> None:
    inotify(watcher).watch(vfs.resolve(b"/tmp/watched"), IN_CREATE)
    watcher.close()
    create(vfs, b"/tmp/watched/file")
    assert inotify(watcher).poll() == 0
