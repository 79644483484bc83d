"""BlockingCp: publishing, versions, users, and nothing left behind."""

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import (
    BlockingCp,
    control_program,
    define,
    descriptor_of,
    filler,
    never_filled,
    objects_of,
    open_descriptors,
    private_directories,
    unique_system,
)

from dcss.abi.diag64 import ReturnCode
from dcss.abi.hypercall import Reply
from dcss.cp.segments.segment import FileClass, RefusalError, Segment
from dcss.errors import PublishError, SystemBusyError

LOADSHRX, LOADNSRX, PURGESEG, FINDSEGX = 0x20, 0x24, 0x08, 0x2C
LIB = define("LIB", "20000-2000F SR")


def diag(cp: BlockingCp, guest: str, subcode: int, name: str) -> Reply:
    return cp.handle(guest, struct.pack(">QQQ8s", 0x64, 0x1000, subcode, name.ljust(8).encode("cp037")))


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        for guest in ("A", "B"):
            running.register(guest, storage_bytes=1 << 26)
        yield running


def test_published_segment(cp: BlockingCp) -> None:
    segment = cp.publish(LIB, filler(b"x" * 5000), image_bytes=5000)
    assert cp.segments == {"LIB": segment}
    assert cp.files == {1: segment}
    assert (segment.name, segment.file_class, segment.spid, segment.definition) == ("LIB", "A", 1, LIB)
    assert segment.digest == hashlib.sha256((b"x" * 5000).ljust(65536, b"\0")).hexdigest()
    assert objects_of(cp.system) == [f"dcss.{cp.system}.LIB.1"]
    assert cp.users("LIB") == 0


@pytest.mark.parametrize(
    ("kind", "has_digest"), [("SW", False), ("SN", False), ("SR", True), ("EW", True), ("SC", True)]
)
def test_digest_only_where_content_stays(cp: BlockingCp, kind: str, has_digest: bool) -> None:
    assert (cp.publish(define("X", f"20000-20000 {kind}"), filler(b"")).digest is not None) == has_digest


def test_two_systems_side_by_side(cp: BlockingCp) -> None:
    other = BlockingCp(unique_system())
    other.register("A", storage_bytes=0)
    cp.publish(LIB, filler(b"mine"))
    other.publish(LIB, filler(b"other"))
    mine, others = (descriptor_of(diag(each, "A", LOADSHRX, "LIB")) for each in (cp, other))
    assert (os.pread(mine, 5, 0), os.pread(others, 5, 0)) == (b"mine\0", b"other")
    other.close()
    assert objects_of(cp.system) == [f"dcss.{cp.system}.LIB.1"]
    assert cp.users("LIB") == 1


def test_second_cp_of_one_system_is_refused(cp: BlockingCp) -> None:
    cp.publish(LIB, filler(b"x"))
    with pytest.raises(SystemBusyError, match=str(os.getpid())):
        BlockingCp(cp.system)
    assert objects_of(cp.system) == [f"dcss.{cp.system}.LIB.1"]


def test_failing_fill_leaves_nothing_and_what_was_there_stays(cp: BlockingCp) -> None:
    cp.publish(LIB, filler(b"old"))
    for error in (ZeroDivisionError(), KeyboardInterrupt()):

        def fill(write_fd: int, error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            cp.publish(LIB, fill)
    assert objects_of(cp.system) == [f"dcss.{cp.system}.LIB.1"]
    assert os.pread(descriptor_of(diag(cp, "A", LOADSHRX, "LIB")), 3, 0) == b"old"


def test_image_that_does_not_fit_is_refused_before_anything_is_created(cp: BlockingCp) -> None:
    with pytest.raises(PublishError, match="LIB: needs 65537 bytes for its image, has 65536"):
        cp.publish(LIB, never_filled, image_bytes=65537)
    with pytest.raises(PublishError, match="SN and EN read as zeros"):
        cp.publish(define("X", "20000-2000F SN"), never_filled, image_bytes=4096)


def test_replaced_while_in_use(cp: BlockingCp) -> None:
    old = cp.publish(LIB, filler(b"old"))
    before = descriptor_of(diag(cp, "A", LOADSHRX, "LIB"))
    new = cp.publish(LIB, filler(b"new"))
    assert (old.file_class, new.file_class, old.spid, new.spid) == ("P", "A", 1, 2)
    assert set(cp.files) == {1, 2}
    assert os.pread(before, 3, 0) == b"old"
    assert os.pread(descriptor_of(diag(cp, "B", LOADSHRX, "LIB")), 3, 0) == b"new"
    assert (old.users, new.users) == ({"A"}, {"B"})
    assert diag(cp, "A", FINDSEGX, "LIB").condition_code == 0
    assert os.pread(descriptor_of(diag(cp, "A", LOADSHRX, "LIB")), 3, 0) == b"new"
    assert set(cp.files) == {2}
    assert objects_of(cp.system) == [f"dcss.{cp.system}.LIB.2"]


def test_replaced_while_unused_vanishes_at_once(cp: BlockingCp) -> None:
    cp.publish(LIB, filler(b"old"))
    cp.publish(LIB, filler(b"new"))
    assert objects_of(cp.system) == [f"dcss.{cp.system}.LIB.2"]


def test_release_drops_all_loads_of_the_dead_guest_only(cp: BlockingCp) -> None:
    cp.publish(LIB, filler(b"lib"))
    cp.publish(define("APP", "30000-3000F SR"), filler(b"app"))
    for guest in ("A", "B"):
        for name in ("LIB", "APP"):
            diag(cp, guest, LOADSHRX, name)
    cp.publish(define("APP", "30000-3000F SR"), filler(b"app2"))
    cp.release("A")
    cp.release("A")
    assert (cp.users("LIB"), cp.users("APP")) == (1, 0)
    assert cp.files[2].users == {"B"}
    assert set(cp.loaded("B")) == {"LIB", "APP"}
    cp.release("B")
    assert set(cp.files) == {1, 3}
    with pytest.raises(KeyError):
        cp.loaded("A")
    cp.register("A", storage_bytes=0)
    assert cp.loaded("A") == {}
    with pytest.raises(ValueError, match="guest A: already registered"):
        cp.register("A", storage_bytes=0)


def test_writes_to_sw_are_seen_by_all_and_gone_after_the_last_user(cp: BlockingCp) -> None:
    cp.publish(define("RW", "20000-2000F SW"), filler(b"saved"))
    first, second = (descriptor_of(diag(cp, guest, LOADSHRX, "RW")) for guest in ("A", "B"))
    os.pwrite(first, b"HELLO", 0)
    os.pwrite(first, b"tail", 65532)
    assert os.pread(second, 5, 0) == b"HELLO"
    diag(cp, "A", PURGESEG, "RW")
    assert os.pread(descriptor_of(diag(cp, "A", LOADSHRX, "RW")), 5, 0) == b"HELLO"
    cp.release("A")
    diag(cp, "B", PURGESEG, "RW")
    again = descriptor_of(diag(cp, "B", LOADSHRX, "RW"))
    assert os.pread(again, 65536, 0) == b"saved".ljust(65536, b"\0")


def test_sn_is_zero_at_first_load_each_time(cp: BlockingCp) -> None:
    cp.publish(define("ZERO", "20000-2000F SN"), never_filled)
    for _ in range(2):
        descriptor = descriptor_of(diag(cp, "A", LOADSHRX, "ZERO"))
        assert os.pread(descriptor, 65536, 0) == bytes(65536)
        os.pwrite(descriptor, b"x" * 65536, 0)
        diag(cp, "A", PURGESEG, "ZERO")


@pytest.mark.parametrize(
    ("page", "keeps"), [(0, True), (1, False), (2, False), (3, True), (0x100, False), (0x101, True)]
)
def test_an_image_has_content_only_where_its_segment_shows_it(cp: BlockingCp, page: int, keeps: bool) -> None:
    definition = define("MIX", "20000-20000 SR", "20002-20002 SN", "20003-20003 SC", "20100-20100 EN", "20101-20101 EW")

    def fill(write_fd: int) -> None:
        os.pwrite(write_fd, b"x", page * 4096 + 17)

    if keeps:
        buffer = cp.publish(definition, fill).object.buffer
        assert bytes(buffer) == bytes(page * 4096 + 17) + b"x" + bytes(len(buffer) - page * 4096 - 18)
    else:
        with pytest.raises(
            PublishError, match=rf"MIX: its image has content in page {0x20000 + page:X}, which keeps none"
        ):
            cp.publish(definition, fill)
        assert objects_of(cp.system) == []


def test_close_unlinks_everything_and_frees_the_lock() -> None:
    with private_directories():
        system = unique_system()
        open_before = open_descriptors()
        cp = BlockingCp(system)
        cp.register("A", storage_bytes=0)
        cp.publish(LIB, filler(b"old"))
        diag(cp, "A", LOADSHRX, "LIB")
        cp.publish(LIB, filler(b"new"))
        directory = cp.lock.directory
        (directory / "socket").touch()
        assert len(objects_of(system)) == 2
        cp.close()
        cp.close()
        assert objects_of(system) == []
        assert not directory.exists()
        assert open_descriptors() == open_before
        BlockingCp(system).close()


def test_close_does_not_disturb_the_next_cp() -> None:
    with private_directories():
        system = unique_system()
        first = BlockingCp(system)
        first.close()
        with BlockingCp(system) as second:
            second.publish(LIB, filler(b"x"))
            first.close()
            assert Path("/dev/shm", f"dcss.{system}.LIB.1").exists()
            assert second.lock.directory.exists()


def test_file_numbers_go_on_and_wrap(cp: BlockingCp) -> None:
    for _ in range(3):
        cp.publish(LIB, filler(b"x"))
    assert list(cp.files) == [3]
    cp.cp._directory._last_spid = 9998
    assert cp.publish(define("APP", "30000-3000F SR"), filler(b"")).spid == 9999
    assert cp.publish(define("APP2", "40000-4000F SR"), filler(b"")).spid == 1
    cp.publish(define("APP3", "50000-5000F SR"), filler(b""))
    assert cp.publish(define("APP4", "60000-6000F SR"), filler(b"")).spid == 4


def test_a_number_that_is_free_again_is_not_the_next_one(cp: BlockingCp) -> None:
    directory = cp.cp._directory
    assert [directory.next_spid() for _ in range(3)] == [1, 2, 3]  # none of them was taken


def test_a_hypercall_after_the_release_is_refused(cp: BlockingCp) -> None:
    cp.publish(LIB, filler(b"x"))
    cp.release("A")
    assert diag(cp, "A", LOADSHRX, "LIB").condition_code == 3
    assert cp.users("LIB") == 0


def test_a_refusal_reads_as_its_message() -> None:
    refusal = RefusalError(ReturnCode.OVERLAPS, "guest ONE loads LIB: overlaps storage")
    assert (str(refusal), refusal.return_code) == ("guest ONE loads LIB: overlaps storage", ReturnCode.OVERLAPS)


def test_a_segment_that_nobody_has_loaded_has_no_object() -> None:
    segment = Segment(define("LIB", "20000-20000 SR"), 1, FileClass.AVAILABLE, "ME", "now", filler(b""))
    with pytest.raises(LookupError, match="segment LIB: not in storage, no guest has loaded it yet"):
        segment.object  # noqa: B018


@pytest.mark.parametrize(
    ("ranges", "writable"),
    [
        (("20000-20000 SW",), True),
        (("20000-20000 SN",), True),
        (("20000-20000 SW", "20001-20003 SN"), True),
        (("20000-20000 SW", "20002-20002 SW"), False),  # what lies between is read-only
        (("20000-20000 SW", "20001-20001 SR"), False),
        (("20000-20000 SR",), False),
        (("20000-20000 EW",), False),
    ],
)
def test_which_segments_guests_write_for_all_to_see(ranges: tuple[str, ...], writable: bool) -> None:
    segment = Segment(define("LIB", *ranges), 1, FileClass.AVAILABLE, "ME", "now", filler(b""))
    assert segment.shared_writable is writable
