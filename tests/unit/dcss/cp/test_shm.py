"""SharedObject: exclusive, read-only for others, whole or absent."""

import hashlib
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import filler, never_filled, objects_of, open_descriptors, unique_system

from dcss.cp.segments import shm
from dcss.cp.segments.shm import SharedObject
from dcss.errors import PublishError
from dcss.host.shm import ObjectName

SIZE_BYTES = 64 * 4096
CONTENT = bytes(range(256)) * 16


@pytest.fixture
def system() -> Iterator[str]:
    name = unique_system("shm")
    yield name
    assert objects_of(name) == []


@pytest.fixture
def shared(system: str) -> Iterator[SharedObject]:
    made = SharedObject(system, "LIB", SIZE_BYTES, filler(CONTENT))
    yield made
    made.close()


def test_object_has_size_mode_and_content(shared: SharedObject, system: str) -> None:
    status = Path("/dev/shm", shared.name[1:]).stat()
    assert shared.name == f"/dcss.{system}.LIB.1"
    assert stat.S_IMODE(status.st_mode) == 0o440
    assert status.st_size == SIZE_BYTES == shared.size_bytes
    assert (status.st_dev, status.st_ino) == (shared.device, shared.inode)
    assert bytes(shared.buffer) == CONTENT.ljust(SIZE_BYTES, b"\0")


def test_content_that_does_not_fit_has_a_message_of_its_own(system: str) -> None:
    with pytest.raises(PublishError) as caught:
        SharedObject(system, "LIB", 4096, filler(bytes(8192)))
    assert str(caught.value) == "segment LIB: its content has 8192 bytes, wanted at most 4096"


def test_mode_does_not_depend_on_umask(system: str) -> None:
    before = os.umask(0o077)
    try:
        shared = SharedObject(system, "LIB", 4096, filler(b""))
    finally:
        os.umask(before)
    with_mode = stat.S_IMODE(os.fstat(shared.reader_fd).st_mode)
    shared.close()
    assert with_mode == 0o440


def test_descriptors_are_not_inherited_and_readers_cannot_write(shared: SharedObject) -> None:
    reader = shared.reader()
    for descriptor in (shared.write_fd, shared.reader_fd, reader):
        assert not os.get_inheritable(descriptor)
    with pytest.raises(PermissionError):
        mmap.mmap(reader, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(reader, b"x", 0)
    os.close(reader)


def test_mapping_is_read_only_shared_and_populated(shared: SharedObject) -> None:
    assert shared.buffer.readonly
    lines = Path("/proc/self/smaps").read_text().split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{shared.address:x}-"))
    assert lines[at].split()[1] == "r--s"
    assert lines[at].split()[4] == str(shared.inode)
    fields = {line.split(":")[0]: line.split(":")[1] for line in lines[at + 1 : at + 10]}
    assert fields["Rss"].split() == [str(SIZE_BYTES >> 10), "kB"]


def test_every_page_is_reserved(shared: SharedObject) -> None:
    assert os.fstat(shared.reader_fd).st_blocks * 512 >= SIZE_BYTES


def test_reader_works_after_unlink_and_unlink_happens_once(shared: SharedObject, system: str) -> None:
    shared.unlink()
    assert objects_of(system) == []
    other = SharedObject(system, "LIB", 4096, filler(b"other"))
    shared.unlink()
    assert objects_of(system) == [other.name[1:]]
    reader = shared.reader()
    assert os.pread(reader, 4, 0) == CONTENT[:4]
    os.close(reader)
    other.close()


def test_same_name_gets_the_next_number(shared: SharedObject, system: str) -> None:
    second = SharedObject(system, "LIB", 4096, filler(b"second"))
    assert second.name == f"/dcss.{system}.LIB.2"
    assert bytes(shared.buffer[:6]) != b"second"
    second.close()


def test_failing_fill_leaves_nothing(system: str) -> None:
    open_before = open_descriptors()
    for error in (RuntimeError("no"), KeyboardInterrupt()):

        def fill(write_fd: int, error: BaseException = error) -> None:
            os.pwrite(write_fd, b"half", 0)
            assert objects_of(system)
            raise error

        with pytest.raises(type(error)):
            SharedObject(system, "LIB", SIZE_BYTES, fill)
        assert objects_of(system) == []
    assert open_descriptors() == open_before


def test_fill_beyond_the_end_is_an_error(system: str) -> None:
    with pytest.raises(PublishError, match=r"LIB: its content has 262145 bytes, wanted at most 262144"):
        SharedObject(system, "LIB", SIZE_BYTES, lambda fd: os.pwrite(fd, b"x", SIZE_BYTES))


def test_size_far_beyond_available_is_refused_before_anything_is_created(system: str) -> None:
    with pytest.raises(
        PublishError, match=r"needs 1125899906842624 bytes .* in /dev/shm, found .*Docker's default is 64 MiB"
    ):
        SharedObject(system, "LIB", 1 << 50, never_filled)


def test_full_dev_shm_is_an_error_when_it_fills_between_check_and_reservation(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shm, "check_space", lambda *_: None)
    with pytest.raises(PublishError, match=r"LIB: 1125899906842624 bytes could not be put into /dev/shm"):
        SharedObject(system, "LIB", 1 << 50, never_filled)


def test_what_the_fill_gave_up_is_reserved_again(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = os.posix_fallocate
    calls: list[int] = []

    def full_at_last(descriptor: int, offset: int, size_bytes: int) -> None:
        calls.append(size_bytes)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        reserve(descriptor, offset, size_bytes)

    def blank(write_fd: int) -> None:
        os.ftruncate(write_fd, 0)
        os.ftruncate(write_fd, SIZE_BYTES)

    monkeypatch.setattr(os, "posix_fallocate", full_at_last)
    with pytest.raises(PublishError, match=r"could not be put into /dev/shm: .*No space left"):
        SharedObject(system, "LIB", SIZE_BYTES, blank)
    calls.clear()
    SharedObject(system, "LIB", SIZE_BYTES, filler(CONTENT)).close()
    assert calls == [SIZE_BYTES]


def test_views_outlive_close_without_harm(system: str) -> None:
    shared = SharedObject(system, "LIB", 4096, filler(CONTENT))
    part = shared.buffer[:256]
    shared.close()
    shared.close()
    assert hashlib.sha256(part).digest() == hashlib.sha256(CONTENT[:256]).digest()
    with pytest.raises(ValueError, match="released"):
        bytes(shared.buffer)


@pytest.mark.parametrize("size_bytes", [0, -4096, 4095, 4097])
def test_sizes_are_whole_pages(size_bytes: int, system: str) -> None:
    with pytest.raises(ValueError, match="multiple of 4096"):
        SharedObject(system, "LIB", size_bytes, never_filled)


@pytest.mark.parametrize(
    ("file_name", "parsed"),
    [
        ("dcss.demo.LIB.1", ObjectName("demo", "LIB", 1)),
        ("dcss.a.b.LIB.12", ObjectName("a.b", "LIB", 12)),
        ("dcss.a.A@#$1.3", ObjectName("a", "A@#$1", 3)),
        ("dcss.demo.storage.1", ObjectName("demo", "storage", 1)),
        ("dcss.demo.LIB", None),
        ("dcss.LIB.1", None),
        ("dcss.demo.LIB.x", None),
        ("notdcss.demo.LIB.1", None),
        ("dcss.demo.LIB.1\n", None),
        ("dcss.demo.LIB.٣", None),
    ],
)
def test_names_parse(file_name: str, parsed: ObjectName | None) -> None:
    assert ObjectName.parse(file_name) == parsed
    if parsed:
        assert str(parsed) == "/" + file_name


def test_an_object_that_was_truncated_is_an_error_with_sizes(shared: SharedObject) -> None:
    shared.check_whole()
    assert shared.digest() == hashlib.sha256(CONTENT.ljust(SIZE_BYTES, b"\0")).hexdigest()
    os.ftruncate(shared.write_fd, 4096)
    for touch in (shared.check_whole, shared.digest):
        with pytest.raises(PublishError) as caught:
            touch()
        assert f"object {shared.name}: found 4096 bytes, wanted {SIZE_BYTES}" in str(caught.value)
