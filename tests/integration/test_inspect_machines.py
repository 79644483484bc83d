"""`dcss inspect` of QEMU guests that read one disk: shared by virtio-pmem and DAX, copied by virtio-blk."""

import random
import subprocess
import sys
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


@contextmanager
def reading(files: MachineFiles, kind: str) -> Iterator[list[int]]:
    """Run two guests that have read every file; yield their process ids."""
    # What was read into a buffer that is free again would count as a copy.
    with machines(2, files, kind, append="init_on_free=1") as found:
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
    for process in result.processes:
        assert process.copied_bytes == PAGES * PAGE_SIZE
        assert process.merged_bytes == 0


@needs("ksm")
def test_what_ksm_has_merged_of_copies_is_told_apart(files: MachineFiles) -> None:
    with merging(FAST), reading(files, "blk") as pids:
        wait_until_merged(pids, PAGES, 2.0, 300)
        result = inspected(pids, files.image)
    assert result.verify.verdict == "refuted"
    for process in result.processes:
        assert process.copied_bytes == PAGES * PAGE_SIZE
        assert process.merged_bytes is not None
        assert 0 < process.merged_bytes <= process.copied_bytes
    assert "merged by KSM" in detail(result.verify, NO_COPIES)
