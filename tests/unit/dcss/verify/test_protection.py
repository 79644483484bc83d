"""Claim 4, on made-up findings: ways to write to a segment, contents that changed, and what a probe says of it."""

import errno
import json
import os
import signal
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from cp_support import open_descriptors
from verdict_support import guest, segment, snapshot

from dcss.abi.extmem import SegmentType
from dcss.results import Claim
from dcss.verify.claims import protection
from dcss.verify.descriptors import FileDescriptor
from dcss.verify.search.results import MemoryFindings
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import Snapshot
from dcss.verify.writable import WritableMapping

BY_CP = "with a descriptor opened read-only by CP, as no guest keeps one open"
REFUSED = {"mprotect": "refused: EACCES", "write": "refused: EBADF"}


def digested(view: SegmentView, digest: str | None = "") -> SegmentView:
    status = os.fstat(view.target.descriptor)
    target = replace(view.target, digest=view.content.digest() if digest == "" else digest)
    return replace(view, target=target, object=(status.st_dev, status.st_ino))


def system(*views: SegmentView) -> Snapshot:
    taken = snapshot(views, [guest("ONE", views), guest("TWO", views)])
    taken.search.guests = {"ONE": MemoryFindings(), "TWO": MemoryFindings()}
    return taken


@pytest.fixture
def lib() -> SegmentView:
    return digested(segment("LIB", 2))


class Probe:
    """Stands for the child that tries to write."""

    def __init__(self) -> None:
        self.stdout, self.stderr, self.returncode = json.dumps(REFUSED), "", -signal.SIGSEGV
        self.timed_out = False
        self.tried: list[tuple[int, str]] = []

    def run(self, command: list[str], *, pass_fds: list[int], **_: Any) -> "Probe":
        assert command[-2] == str(pass_fds[0])
        self.tried.append((os.fstat(pass_fds[0]).st_ino, command[-1]))
        if self.timed_out:
            raise subprocess.TimeoutExpired(command, 60)
        return self


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    made = Probe()
    monkeypatch.setattr(subprocess, "run", made.run)
    return made


def judged(taken: Snapshot) -> tuple[bool | None, str]:
    claim = protection.judge(taken)
    assert (claim.claim, claim.applies) == ("protection-holds", True)
    return claim.holds, claim.detail


def test_what_is_refused_holds(lib: SegmentView, probe: Probe) -> None:
    detail = f"1 segment: stores and writes are refused ({BY_CP}), and the digest is as published"
    before = open_descriptors()
    assert judged(system(lib)) == (True, detail)
    assert open_descriptors() == before
    assert probe.tried == [(lib.object[1], "8192")]
    unsummed = digested(segment("NONE", 1), None)
    detail = f"2 segments: stores and writes are refused ({BY_CP}); NONE has no digest to compare"
    assert judged(system(lib, unsummed)) == (True, detail)
    assert probe.tried[1:] == [(lib.object[1], "8192"), (unsummed.object[1], "4096")]


def test_it_does_not_apply_to_segments_that_guests_write(lib: SegmentView) -> None:
    writable = segment("W", 1, type=SegmentType.SW)
    why = "no segment is protected: all are of type SW or SN"
    assert protection.judge(system(writable)) == Claim("protection-holds", None, why, applies=False)
    assert judged(system(writable, lib))[1].startswith("1 segment: ")


def test_a_store_that_goes_through_refutes(lib: SegmentView, probe: Probe) -> None:
    probe.returncode = 0
    assert judged(system(lib)) == (False, f"segment LIB: a store through the mapping: was allowed {BY_CP}")
    probe.stdout, probe.returncode = json.dumps(REFUSED | {"write": "was allowed"}), -signal.SIGSEGV
    assert judged(system(lib)) == (False, f"segment LIB: write: was allowed {BY_CP}")


def test_a_probe_that_fails_leaves_it_open(lib: SegmentView, probe: Probe) -> None:
    probe.stdout, probe.stderr = "", "x" * 300 + "end\n"
    holds, detail = judged(system(lib))
    assert (holds, detail) == (None, f"segment LIB: the probe {BY_CP} failed: {'x' * 197}end")
    probe.timed_out = True
    assert judged(system(lib)) == (None, f"segment LIB: the probe {BY_CP} did not end within 60 s")


def test_a_probe_that_cannot_be_started_leaves_it_open(lib: SegmentView, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "run", refused)
    holds, detail = judged(system(lib))
    assert holds is None
    assert detail.startswith("segment LIB: the probe cannot be started: fork: Resource temporarily unavailable; proc")


def test_a_content_that_changed_refutes(lib: SegmentView) -> None:
    now = lib.content.digest()[:16]
    was = "0123456789abcdef" * 4
    changed = f"its content has changed: SHA-256 is {now}…, was {was[:16]}… when it was published"
    assert judged(system(digested(lib, was))) == (False, f"segment LIB: {changed}")


def test_an_object_that_was_cut_short_refutes(lib: SegmentView) -> None:
    short = replace(lib, target=replace(lib.target, size_bytes=12288))
    holds, detail = judged(system(short))
    assert holds is False
    assert detail.startswith("segment LIB: object /LIB was cut short: found 8,192 bytes, wanted 12,288")


def test_writable_mappings_refute(lib: SegmentView) -> None:
    taken = system(lib, digested(segment("OTHER", 1)))
    taken.guests[1].writable_mappings += [
        WritableMapping("LIB", 0x1000, True),
        WritableMapping("LIB", 0x2000, False),
        WritableMapping("OTHER", 0x3000, True),
        WritableMapping("THIRD", 0x4000, True),
    ]
    assert judged(taken) == (
        False,
        "guest TWO: LIB is mapped writable at 0x1000; "
        "guest TWO: LIB at 0x2000 is mapped of a writable descriptor; "
        "guest TWO: OTHER is mapped writable at 0x3000",
    )


def test_closed_books_leave_it_open(lib: SegmentView) -> None:
    taken = system(lib)
    taken.guests[0].denied = "closed"
    assert judged(taken) == (None, "guest ONE: closed")


class TestDescriptors:
    """The segment's object, held open by a guest: here by this very process."""

    @staticmethod
    def held(lib: SegmentView, number: int) -> FileDescriptor:
        return FileDescriptor(os.getpid(), number, *lib.object)

    def test_one_that_is_read_only_is_tried(self, lib: SegmentView, probe: Probe) -> None:
        taken = system(lib)
        reader = os.open(f"/proc/self/fd/{lib.target.descriptor}", os.O_RDONLY)
        try:
            taken.search.guests["TWO"].descriptors = [
                FileDescriptor(os.getpid(), 0, 1, 1),  # another file
                self.held(lib, reader),
            ]
            how = "with a guest's own descriptor"
            detail = f"1 segment: stores and writes are refused ({how}), and the digest is as published"
            assert judged(taken) == (True, detail)
        finally:
            os.close(reader)
        assert probe.tried == [(lib.object[1], "8192")]

    def test_one_that_is_open_for_writing_refutes(self, lib: SegmentView) -> None:
        taken = system(lib)
        taken.search.guests["TWO"].descriptors = [self.held(lib, lib.target.descriptor)]
        number = lib.target.descriptor
        assert judged(taken) == (False, f"guest TWO: descriptor {number} of LIB is open for writing")

    def test_one_that_is_gone_is_not_tried(self, lib: SegmentView) -> None:
        taken = system(lib)
        taken.search.guests["TWO"].descriptors = [self.held(lib, 999_999)]
        holds, detail = judged(taken)
        assert holds is True
        assert "with a descriptor opened read-only by CP, as pidfd_getfd of descriptor 999999" in detail
