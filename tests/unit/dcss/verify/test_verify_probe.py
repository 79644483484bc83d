"""The throw-away child of claim 4, on descriptors that are and are not protected."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dcss_test_support import needs
from segment_stage import random_content

from dcss.verify import probe as probe_module
from dcss.verify.backing import Backings, open_object
from dcss.verify.descriptors import duplicate, open_files
from dcss.verify.probe import probe
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
        "a store through the mapping": "refused: SIGSEGV",
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
    # The mapping of the first try is read-only whatever the descriptor is: only that one is refused.
    assert outcomes.pop("a store through the mapping") == "refused: SIGSEGV"
    assert set(outcomes.values()) == {"was allowed"}
    assert segment.read_bytes() == before


def test_probe_runs_as_a_file_of_its_own(segment: Path) -> None:
    with segment.open("rb") as file:
        command = [sys.executable, "-I", "-S", str(probe_module.__file__), str(file.fileno()), str(SIZE_BYTES)]
        done = subprocess.run(command, pass_fds=[file.fileno()], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)) == 6


def test_store_that_goes_through_is_told(segment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = probe_module._map
    monkeypatch.setattr(probe_module, "_map", lambda descriptor, _: real(descriptor, 3))
    with segment.open("r+b") as file:
        outcomes = probe(file.fileno(), SIZE_BYTES)
    assert outcomes["a store through the mapping"] == "the store went through (status 0)"


def test_open_files_and_their_modes(segment: Path) -> None:
    status = segment.stat()
    with segment.open("rb") as reader, segment.open("r+b") as writer:
        path_only = os.open(segment, os.O_PATH)
        found = {file.number: file for file in open_files(os.getpid()) if file.inode == status.st_ino}
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
        (file,) = [file for file in open_files(os.getpid()) if file.number == reader.fileno()]
        copy = duplicate(file)
        os.lseek(copy, 77, os.SEEK_SET)
        assert reader.tell() == 77
        os.close(copy)
    with pytest.raises(OSError, match=r"pidfd_getfd of descriptor \d+ of process"):
        duplicate(file._replace(number=999_999))


def test_backings(segment: Path, tmp_path: Path) -> None:
    backings = Backings()
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


def test_open_object_opens_that_very_file_or_none(segment: Path, tmp_path: Path) -> None:
    status = segment.stat()
    other = tmp_path / "other"
    other.touch()
    descriptor = open_object(["/nowhere", str(other), "/dev/null", str(segment)], status.st_dev, status.st_ino)
    assert descriptor is not None
    assert os.fstat(descriptor).st_ino == status.st_ino
    os.close(descriptor)
    assert open_object([str(other), "/dev/null"], status.st_dev, status.st_ino) is None


def test_wording() -> None:
    assert count(1, "page") == "1 page"
    assert count(2000, "page") == "2,000 pages"
    assert count(2, "process", "processes") == "2 processes"
    assert first_few(["a", "b"]) == "a; b"
    assert first_few(list("abcdef")) == "a; b; c; d; and 2 more"
