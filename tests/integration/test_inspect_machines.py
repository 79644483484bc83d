"""`dcss inspect` of QEMU guests that read one disk: shared by virtio-pmem and DAX, copied by virtio-blk."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from claim_support import NO_COPIES, ONE_FRAME, detail
from needs_support import needs

from benchmarks.cases.qemu.initramfs import build, find_kernel
from benchmarks.cases.qemu.machine import MachineFiles, machines
from benchmarks.framework.ksm import FAST, merging, wait_until_merged
from dcss.abi.page import PAGE_SIZE
from dcss.inspect.inspection import inspect
from dcss.inspect.selection import Wanted
from dcss.results import InspectResult

pytestmark = [pytest.mark.slow, needs("virtual_machines", "frames")]
FILES, FILE_PAGES = 3, 512
PAGES = FILES * FILE_PAGES


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> MachineFiles:
    """A kernel, its initramfs, and an image whose files have no block of the file system beside theirs."""
    directory = tmp_path_factory.mktemp("machines")
    tree, image = directory / "tree", directory / "disk.img"
    tree.mkdir()
    content = random.Random(15)
    for number in range(FILES):
        (tree / f"file{number}").write_bytes(content.randbytes(FILE_PAGES * PAGE_SIZE))
    words = [sys.executable, "-m", "dcss", "image", "build", str(tree), "-o", str(image), "--size", "10M"]
    subprocess.run(words, check=True, capture_output=True)
    kernel = find_kernel()
    return MachineFiles(kernel.image, build(kernel, directory), image)


@pytest.fixture(scope="module")
def mke2fs_files(files: MachineFiles, tmp_path_factory: pytest.TempPathFactory) -> MachineFiles:
    """The same kernel with an image of mke2fs, where a directory of many blocks lies among the blocks of its files."""
    directory = tmp_path_factory.mktemp("mke2fs")
    tree, image = directory / "tree", directory / "disk.img"
    tree.mkdir()
    content = random.Random(16)
    for number in range(900):
        (tree / f"a name that fills the directory {number}").write_bytes(content.randbytes(PAGE_SIZE))
    words = ["mke2fs", "-q", "-t", "ext4", "-b", str(PAGE_SIZE), "-d", str(tree), str(image), "16M"]
    subprocess.run(words, check=True, capture_output=True)
    return files._replace(image=image)


@contextmanager
def reading(files: MachineFiles, kind: str, *, append: str = "") -> Iterator[list[int]]:
    """Run two guests that have read every file; yield their process ids."""
    # What was read into a buffer that is free again would count as a copy.
    with machines(2, files, kind, append=f"init_on_free=1 {append}") as found:
        for machine in found:
            machine.tell()
        for machine in found:
            machine.wait_for("READ")
        yield [machine.pid for machine in found]


def inspected(pids: list[int], image: Path) -> InspectResult:
    return inspect(pids, Wanted((str(image),)))


def test_guests_with_virtio_pmem_and_dax_are_verified(files: MachineFiles) -> None:
    with reading(files, "pmem") as pids:
        result = inspected(pids, files.image)
    assert result.verify.verdict == "verified", result.verify.claims
    (proof,) = result.verify.files
    assert proof.shared
    assert proof.checked_pages >= PAGES
    assert result.objects[0].one_frame_pages == proof.checked_pages
    assert [process.copied_bytes for process in result.processes] == [0, 0]
    assert "file system metadata" in detail(result.verify, NO_COPIES)


def test_guests_with_virtio_blk_are_refuted(files: MachineFiles) -> None:
    with reading(files, "blk") as pids:
        result = inspected(pids, files.image)
    assert result.verify.verdict == "refuted"
    assert {claim.claim for claim in result.verify.claims if claim.holds is False} == {ONE_FRAME, NO_COPIES}
    assert result.verify.hints == ()  # these guests copy what they read: no read-ahead is to blame
    for process in result.processes:
        assert process.copied_bytes == PAGES * PAGE_SIZE
        assert process.merged_bytes == 0


@needs("mke2fs")
def test_what_a_guest_reads_ahead_in_an_image_of_mke2fs_is_a_copy_and_the_cause_is_told(
    mke2fs_files: MachineFiles,
) -> None:
    with reading(mke2fs_files, "pmem") as pids:
        result = inspected(pids, mke2fs_files.image)
    assert {claim.claim for claim in result.verify.claims if claim.holds is False} == {NO_COPIES}
    for process in result.processes:
        assert process.copied_bytes is not None
        assert 0 < process.copied_bytes <= 32 * PAGE_SIZE
    (hint,) = result.verify.hints
    assert "blockdev --setra 0" in hint


@needs("mke2fs")
def test_without_read_ahead_an_image_of_mke2fs_is_verified(mke2fs_files: MachineFiles) -> None:
    with reading(mke2fs_files, "pmem", append="read_ahead=none") as pids:
        result = inspected(pids, mke2fs_files.image)
    assert result.verify.verdict == "verified", result.verify.claims
    assert result.verify.hints == ()
    assert [process.copied_bytes for process in result.processes] == [0, 0]


@needs("ksm")
def test_what_ksm_has_merged_of_copies_is_told_apart(files: MachineFiles) -> None:
    with merging(FAST), reading(files, "blk") as pids:
        wait_until_merged(pids, PAGES, 2.0, 300)  # so many pages: those of the machines' kernels may come first
        end = time.monotonic() + 60
        while True:
            result = inspected(pids, files.image)
            if all(process.merged_bytes for process in result.processes) or time.monotonic() > end:
                break
    assert result.verify.verdict == "refuted"
    for process in result.processes:
        assert process.copied_bytes == PAGES * PAGE_SIZE
        assert process.merged_bytes is not None
        assert 0 < process.merged_bytes <= process.copied_bytes
    assert "merged by KSM" in detail(result.verify, NO_COPIES)
