"""`dcss inspect` of a disk with partitions: what a kernel keeps of its file systems and tables is no copy of a file."""

import random
import subprocess
from pathlib import Path

import pytest
from claim_support import NO_COPIES, detail
from needs_support import needs, tool
from partition_support import mbr
from peers_support import peers

from dcss.abi.page import PAGE_SIZE
from dcss.inspect.image_data import own_runs
from dcss.inspect.inspection import inspect
from dcss.inspect.selection import Wanted
from dcss.results import InspectResult

pytestmark = needs("mke2fs")
FIRST_PAGE, FILE_SYSTEM_PAGES, PAGES = 256, 512, 800


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk of which a partition has a directory of a few pages, and a file of 100."""
    tree, image, path = tmp_path / "tree", tmp_path / "image", tmp_path / "disk"
    tree.mkdir()
    (tree / "file").write_bytes(random.Random(15).randbytes(100 * PAGE_SIZE))
    for number in range(100):
        (tree / f"a name that fills the directory {number}").touch()
    size = f"{FILE_SYSTEM_PAGES * PAGE_SIZE >> 10}k"
    words = ["-q", "-t", "ext4", "-b", str(PAGE_SIZE), "-d", str(tree), str(image), size]
    subprocess.run([tool("mke2fs") or "mke2fs", *words], check=True)
    table = mbr((0x83, FIRST_PAGE * 8, FILE_SYSTEM_PAGES * 8))
    content = table.ljust(FIRST_PAGE * PAGE_SIZE, b"\0") + image.read_bytes()
    path.write_bytes(content.ljust(PAGES * PAGE_SIZE, b"\0"))
    return path


def inspected(disk: Path, copied: Path) -> InspectResult:
    with peers(f"map={disk}", [f"map={disk}", f"copy={copied}"]) as found:
        return inspect([peer.pid for peer in found], Wanted((str(disk),)))


def own_pages(disk: Path) -> list[int]:
    with disk.open("rb") as file:
        runs = own_runs(file.fileno(), PAGES)
    return [page for first, count in runs for page in range(first, first + count)]


def test_copies_of_what_is_no_data_of_files_refute_nothing(disk: Path, tmp_path: Path) -> None:
    content, copied = disk.read_bytes(), tmp_path / "copied"
    copied.write_bytes(b"".join(content[page * PAGE_SIZE : (page + 1) * PAGE_SIZE] for page in own_pages(disk)))
    result = inspected(disk, copied)
    assert result.verify.verdict == "verified", result.verify.claims
    assert "file system metadata" in detail(result.verify, NO_COPIES)
    assert [process.copied_bytes for process in result.processes] == [0, 0]


def test_a_copy_of_a_page_of_a_file_refutes(disk: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    copied.write_bytes((tmp_path / "tree" / "file").read_bytes()[:PAGE_SIZE])
    result = inspected(disk, copied)
    assert [claim.claim for claim in result.verify.claims if claim.holds is False] == [NO_COPIES]
    assert [process.copied_bytes for process in result.processes] == [0, PAGE_SIZE]
