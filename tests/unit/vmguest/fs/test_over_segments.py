"""ext2 over two segments that adjoin, which are two objects of the host: files on the border, read, mapped, written."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cp_support import BlockingCp
from ext2_support import e2fs
from guest_support import definition, fill_with, guest_kernel
from mm_support import host_pages
from needs_support import needs
from shell_support import out, sh
from tree_support import make_tree, mke2fs

from dcss.abi.extmem import SegmentName
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from vmguest.fs.open import O_RDONLY, O_RDWR, FileDescription, open_file
from vmguest.kernel import Kernel
from vmguest.mm_area import PROT_READ, PROT_WRITE

pytestmark = needs("mke2fs", "e2fsck")
MIB = 1 << 20
PATH = b"/mnt/usr/lib/libone.so.1"  # begins in the first MiB of the image, and is nearly one long


class Halves(NamedTuple):
    """A guest with one file system over two segments, the first of which is 1 MiB long, and what the file holds."""

    kernel: Kernel
    cp: BlockingCp
    content: bytes

    def inode(self, name: str) -> int:
        return self.cp.cp.segments[SegmentName(name)].object.inode

    def stored(self) -> bytes:
        """What both segments hold."""
        return b"".join(bytes(self.cp.cp.segments[SegmentName(name)].object.buffer) for name in ("LOWER", "UPPER"))

    def border(self, opened: FileDescription) -> int:
        """Return the first page of the file that lies in the upper segment."""
        frames = [run.page_frame + page for run in opened.translate(0, 1 << 20) for page in range(run.pages)]
        return frames.index(0x20100)


@pytest.fixture(params=["SR", "SW"])
def halves(request: pytest.FixtureRequest, control_program: BlockingCp, tmp_path: Path) -> Iterator[Halves]:
    content = make_tree(tmp_path / "tree")[b"usr/lib/libone.so.1"]
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    for name, pages, part in (("LOWER", "20000-200FF", image[:MIB]), ("UPPER", "20100-207FF", image[MIB:])):
        control_program.publish(definition(name, f"{pages} {request.param}"), fill_with(part))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("UPPER:LOWER")
        kernel.mount("dcssblk0", "/mnt", ("rw" if request.param == "SW" else "ro", "xip"))
        kernel.vfs.populate()
        yield Halves(kernel, control_program, content)


def test_a_file_on_the_border_is_mapped_from_both_objects(halves: Halves) -> None:
    mm = halves.kernel.init.mm
    with open_file(halves.kernel.vfs, PATH, O_RDONLY) as opened:
        border, pages = halves.border(opened), -(-len(halves.content) // PAGE_SIZE)
        address = mm.map(opened, 0, pages)
        shown = host_pages(address >> PAGE_SHIFT, pages)
        assert {page.inode for page in shown[:border]} == {halves.inode("LOWER")}
        assert {page.inode for page in shown[border:]} == {halves.inode("UPPER")}
        assert (shown[border - 1].file_page, shown[border].file_page) == (255, 0)
        assert mm.read(address, len(halves.content)) == halves.content
        mm.unmap(address + (border - 1) * PAGE_SIZE, 2)  # one page of each
        assert mm.read(address + (border + 1) * PAGE_SIZE, 16) == halves.content[(border + 1) * PAGE_SIZE :][:16]


def test_a_file_on_the_border_is_read_as_one(halves: Halves) -> None:
    with open_file(halves.kernel.vfs, PATH, O_RDONLY) as opened:
        at = halves.border(opened) * PAGE_SIZE - 100
        buffer = bytearray(200)
        assert opened.pread(memoryview(buffer), at) == 200
        assert buffer == halves.content[at : at + 200]
    assert out(halves.kernel, [b"cat", PATH]) == halves.content


def test_a_private_store_over_the_border_copies_a_page_of_each(halves: Halves) -> None:
    mm = halves.kernel.init.mm
    before = halves.stored()
    with open_file(halves.kernel.vfs, PATH, O_RDONLY) as opened:
        border = halves.border(opened)
        address = mm.map(opened, 0, 250, PROT_READ | PROT_WRITE, shared=False)
        mm.write(address + border * PAGE_SIZE - 4, b"12345678")
        assert mm.read(address + border * PAGE_SIZE - 6, 12)[2:10] == b"12345678"
    assert mm.anonymous_pages == 2
    assert halves.stored() == before


@pytest.mark.parametrize("halves", ["SW"], indirect=True)
def test_what_is_written_over_the_border_reaches_both_segments(halves: Halves, tmp_path: Path) -> None:
    mm = halves.kernel.init.mm
    with open_file(halves.kernel.vfs, PATH, O_RDWR) as opened:
        at = halves.border(opened) * PAGE_SIZE
        opened.pwrite(b"by a call", at - 4)
        assert halves.stored()[MIB - 4 : MIB + 5] == b"by a call"
        address = mm.map(opened, 0, 250, PROT_READ | PROT_WRITE)
        mm.write(address + at - 4, b"in place!")
        assert halves.stored()[MIB - 4 : MIB + 5] == b"in place!"
        mm.unmap_all()
    assert sh(halves.kernel, "cp -a /mnt/usr /mnt/again; rm -r /mnt/usr; sync; umount /mnt").err == ""
    (tmp_path / "after").write_bytes(halves.stored())
    e2fs("e2fsck", "-fn", tmp_path / "after")
