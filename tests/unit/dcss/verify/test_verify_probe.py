"""The throw-away child of claim 4, on descriptors that are and are not protected."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs_support import needs
from segment_support import Stage, disk_directory, random_content

from dcss.host.file_questions import FileQuestions
from dcss.verify.backing import Backings, open_object
from dcss.verify.claims import probe as probe_module
from dcss.verify.claims import protection
from dcss.verify.claims.probe import probe
from dcss.verify.descriptors import FileDescriptor, descriptor_numbers, duplicate, open_files
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import SnapshotBuilder
from dcss.verify.wording import count, first_few

SIZE_BYTES = 4 * 4096


@pytest.fixture
def segment() -> Iterator[Path]:
    path = Path(f"/dev/shm/dcss-test-{os.getpid()}-probe")
    path.write_bytes(random_content(4))
    yield path
    path.unlink()


def test_read_only_descriptor_refuses_everything(segment: Path) -> None:
    before = segment.read_bytes()
    with segment.open("rb") as file:
        outcomes = probe(file.fileno(), SIZE_BYTES)
    assert outcomes == {
        "mprotect to write": "refused: Permission denied",
        "a writable shared mapping": "refused: Permission denied",
        "pwrite": "refused: Bad file descriptor",
        "ftruncate": "refused: Invalid argument",
        "fallocate": "refused: Bad file descriptor",
    }
    assert segment.read_bytes() == before


def test_writable_descriptor_is_found_out_and_nothing_changes(segment: Path) -> None:
    before = segment.read_bytes()
    with segment.open("r+b") as file:
        outcomes = probe(file.fileno(), SIZE_BYTES)
    assert set(outcomes.values()) == {"was allowed"}
    assert segment.read_bytes() == before


def test_probe_runs_as_a_file_of_its_own_and_dies_of_the_store(segment: Path) -> None:
    with segment.open("rb") as file:
        command = [sys.executable, "-I", "-S", str(probe_module.__file__), str(file.fileno()), str(SIZE_BYTES)]
        done = subprocess.run(command, pass_fds=[file.fileno()], capture_output=True, text=True, check=False)
    assert len(json.loads(done.stdout)) == 5
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr == ""


def test_store_that_goes_through_returns(segment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = segment.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    real = probe_module._map
    monkeypatch.setattr(probe_module, "_map", lambda descriptor, _: real(descriptor, 3))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with segment.open("r+b") as file:
        probe_module.store(file.fileno())
    assert segment.read_bytes() == before
    assert resource.getrlimit(resource.RLIMIT_CORE) == limits


class TestJudging:
    """Claim 4 where the child itself is the trouble."""

    def judged(self, monkeypatch: pytest.MonkeyPatch, code: str) -> tuple[bool | None, str]:
        with Stage() as stage, disk_directory() as directory:
            (directory / "probe.py").write_text(code)
            monkeypatch.setattr(protection, "_PROBE", directory / "probe.py")
            if "sleep" in code:
                monkeypatch.setattr(protection, "_PROBE_SECONDS", 1)
            segments = [SegmentView.of(stage.publish())]
            builder = SnapshotBuilder(stage.system, segments, frames=False, evidence=None)
            claim = protection.judge(builder.snapshot)
            return claim.holds, claim.detail

    def test_store_that_goes_through_refutes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        holds, detail = self.judged(monkeypatch, "print('{}')")
        assert holds is False
        assert "a store through the mapping: was allowed" in detail

    def test_refusal_of_another_kind_refutes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        code = 'import os; print(\'{"pwrite": "failed otherwise: x"}\', flush=True); os.kill(os.getpid(), 11)'
        holds, detail = self.judged(monkeypatch, code)
        assert holds is False
        assert "segment LIB: pwrite: failed otherwise: x" in detail

    @pytest.mark.parametrize(
        ("code", "reason"), [("raise SystemExit('no')", "failed: no"), ("import time; time.sleep(60)", "within 1 s")]
    )
    def test_child_that_fails_proves_nothing(self, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
        holds, detail = self.judged(monkeypatch, code)
        assert holds is None
        assert reason in detail


def own_files() -> list[FileDescriptor]:
    with FileQuestions() as questions:
        files, reasons = open_files(os.getpid(), descriptor_numbers(os.getpid()), Backings(questions))
    assert reasons == []
    return files


def test_open_files_and_their_modes(segment: Path) -> None:
    status = segment.stat()
    with segment.open("rb") as reader, segment.open("r+b") as writer:
        path_only = os.open(segment, os.O_PATH)
        found = {file.number: file for file in own_files() if file.inode == status.st_ino}
        assert {number: file.writable for number, file in found.items()} == {
            reader.fileno(): False,
            writer.fileno(): True,
            path_only: False,
        }
        os.close(path_only)
        assert found[reader.fileno()].target == str(segment)


@needs("root")
def test_duplicate_is_the_same_open_file(segment: Path) -> None:
    with segment.open("rb") as reader:
        (file,) = [file for file in own_files() if file.number == reader.fileno()]
        copy = duplicate(file)
        os.lseek(copy, 77, os.SEEK_SET)
        assert reader.tell() == 77
        os.close(copy)
    with pytest.raises(OSError, match=r"pidfd_getfd of descriptor \d+ of process"):
        duplicate(file._replace(number=999_999))


@needs("root")
@pytest.mark.parametrize("same_inode", [False, True])
def test_a_number_that_stands_for_another_file_by_now_is_not_duplicated(
    segment: Path, tmp_path: Path, same_inode: bool
) -> None:
    """The probe would try to cut that one short."""
    with segment.open("rb") as reader:
        (file,) = [file for file in own_files() if file.number == reader.fileno()]
        if same_inode:
            file = file._replace(device=file.device + 1)
        else:
            (tmp_path / "other").touch()
            other = os.open(tmp_path / "other", os.O_RDWR)
            os.dup2(other, reader.fileno())
            os.close(other)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(OSError, match=f"descriptor {file.number} of process .* is another file by now"):
            duplicate(file)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def backings() -> Iterator[Backings]:
    with FileQuestions() as questions:
        yield Backings(questions)


def test_backings(segment: Path, backings: Backings) -> None:
    memfd = os.memfd_create("x")

    def is_memory(path: str) -> bool:
        status = os.stat(path)  # noqa: PTH116
        return backings.of_file(os.getpid(), status.st_dev, status.st_ino, path)

    assert is_memory(str(segment))
    assert is_memory(f"/proc/self/fd/{memfd}")
    assert not is_memory(os.__file__)
    # Devices that no mount table shows: by the kind of file system, else taken for memory.
    assert not backings.of_file(os.getpid(), 1 << 20, Path(os.__file__).stat().st_ino, os.__file__)
    assert backings.of_file(os.getpid(), (1 << 20) + 1, 0, "/nowhere")
    os.close(memfd)


def test_open_object_opens_that_very_file_or_none(segment: Path, tmp_path: Path, backings: Backings) -> None:
    status = segment.stat()
    other = tmp_path / "other"
    other.touch()
    descriptor = open_object(
        backings, ["/nowhere", str(other), "/dev/null", str(segment)], status.st_dev, status.st_ino
    )
    assert descriptor is not None
    assert os.fstat(descriptor).st_ino == status.st_ino
    os.close(descriptor)
    assert open_object(backings, [str(other), "/dev/null"], status.st_dev, status.st_ino) is None


def test_wording() -> None:
    assert count(1, "page") == "1 page"
    assert count(2000, "page") == "2,000 pages"
    assert count(2, "process", "processes") == "2 processes"
    assert first_few(["a", "b"]) == "a; b"
    assert first_few(list("abcd")) == "a; b; c; d"
    assert first_few(list("abcde")) == "a; b; c; d; and 1 more"
    assert first_few(list("abcdef")) == "a; b; c; d; and 2 more"
