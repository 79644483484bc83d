"""e2fsprogs on our images: fields of the superblock, content of files, images of several groups, and sparse giants."""

import os
import re
from pathlib import Path

import pytest
from image_support import Read, build, digest, e2fsck_findings, run_tool
from needs_support import needs

from dcss.config.sources import DirectorySource
from dcss.errors import ImageError
from dcss.ext2.fsck.check import check_image
from dcss.ext2.mkfs.blockmap import MAX_FILE_BYTES
from dcss.ext2.source import BufferSource
from dcss.image.build import plan_image
from dcss.image.map import HUGE_PAGE_BYTES, map_image

pytestmark = needs("e2fsck", "debugfs", "dumpe2fs", "mke2fs")


def fields(image: Path) -> dict[str, str]:
    done = run_tool("dumpe2fs", image)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^([A-Z][^:\n]+):\s+(.+)$", done.stdout, flags=re.MULTILINE))


def test_the_superblock_says_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/x").write_bytes(b"x" * 10_000)
    plan = build(tmp_path / "tree", tmp_path / "x.img", size_bytes=300 << 20)
    said = fields(tmp_path / "x.img")
    assert said["Filesystem revision #"] == "1 (dynamic)"
    assert said["Filesystem features"] == "ext_attr filetype sparse_super large_file"
    assert said["Filesystem state"] == "clean"
    assert said["Errors behavior"] == "Continue"
    assert said["Filesystem OS type"] == "Linux"
    assert said["Block count"] == str(plan.size_bytes // 4096)
    assert said["Block size"] == said["Fragment size"] == "4096"
    assert said["Blocks per group"] == "32768"
    assert said["Inode size"] == "128"
    assert said["First inode"] == "11"
    assert said["Reserved block count"] == "0"
    assert said["Maximum mount count"] == "-1"
    assert said["Last mount time"] == "n/a"
    # A tool that looks for a copy of the superblock finds it where sparse_super puts it.
    backup = run_tool("dumpe2fs", "-o", "superblock=32768", "-o", "blocksize=4096", "-h", tmp_path / "x.img")
    assert re.search(r"Block count: +76800", backup.stdout)
    assert e2fsck_findings(tmp_path / "x.img") == []
    assert run_tool("e2fsck", "-fn", "-b", "32768", "-B", "4096", tmp_path / "x.img").returncode == 0


def test_debugfs_takes_out_what_went_in(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    contents = {f"file {number}": os.urandom(length) for number, length in enumerate((0, 1, 4096, 49_153, 5 << 20))}
    for name, content in contents.items():
        (root / name).write_bytes(content)
    build(root, tmp_path / "x.img")
    for number, (name, content) in enumerate(contents.items()):
        run_tool("debugfs", "-R", f'dump "/{name}" {tmp_path}/{number}', tmp_path / "x.img")
        assert digest(tmp_path / str(number)) == digest(content)


def test_extended_attributes_by_debugfs(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(3):
        (root / str(number)).write_bytes(b"")
        os.setxattr(root / str(number), "user.name", b"shared")
    build(root, tmp_path / "x.img")
    for number in range(3):
        assert 'user.name (6) = "shared"' in run_tool("debugfs", "-R", f"ea_list /{number}", tmp_path / "x.img").stdout
    assert len({inode.file_acl for inode in Read(tmp_path / "x.img").inodes.values() if inode.file_acl}) == 1
    assert e2fsck_findings(tmp_path / "x.img") == []


def test_a_block_of_attributes_has_at_most_1024_sharers(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(1030):
        (root / str(number)).write_bytes(b"")
        os.setxattr(root / str(number), "user.name", b"shared")
    build(root, tmp_path / "x.img")
    assert len({inode.file_acl for inode in Read(tmp_path / "x.img").inodes.values() if inode.file_acl}) == 2
    assert e2fsck_findings(tmp_path / "x.img") == []


def sparse(path: Path, size: int, *offsets: int) -> None:
    with path.open("wb") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(b"at %d" % offset)
        file.truncate(size)


def test_sparse_giants_over_three_levels_of_indirect_blocks(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    sparse(root / "giant", MAX_FILE_BYTES, 0, 48 << 10, 5 << 20, 5 << 30, 1 << 40, MAX_FILE_BYTES - 100)
    sparse(root / "hole", 1 << 40)
    sparse(root / "over 2 GiB", (1 << 31) + 5, 1 << 31)
    build(root, tmp_path / "x.img")
    assert e2fsck_findings(tmp_path / "x.img") == []
    assert check_image(BufferSource((tmp_path / "x.img").read_bytes())).clean
    read = Read(tmp_path / "x.img")
    assert read.inodes[b"/giant"].size_bytes == MAX_FILE_BYTES
    assert read.inodes[b"/hole"].blocks_512 == 0
    for offset in (0, 48 << 10, 5 << 20, 5 << 30, 1 << 40, MAX_FILE_BYTES - 100):
        assert read.part(b"/giant", offset, 20).startswith(b"at %d" % offset)
    sparse(root / "too long", MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match=r"/too long: found .* ext2 maps at most"):
        plan_image(DirectorySource(root))


def test_several_groups_and_files_across_them(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    # Pieces of data far apart in the file, so that hundreds of megabytes of layout take no megabytes of disk.
    for name, pieces in (("a", 90), ("b", 90), ("c", 130)):
        with (root / name).open("wb") as file:
            for number in range(pieces):
                file.seek(number * (1 << 22))
                file.write((b"%s%d" % (name.encode(), number)).ljust(1 << 20, b"."))
    build(root, tmp_path / "x.img", address=0x40000000)
    assert int(fields(tmp_path / "x.img")["Block count"]) > 2 * 32768
    assert e2fsck_findings(tmp_path / "x.img") == []
    assert check_image(BufferSource((tmp_path / "x.img").read_bytes())).clean
    read = Read(tmp_path / "x.img")
    for name, pieces in (("a", 90), ("b", 90), ("c", 130)):
        for number in range(pieces):
            assert read.part(f"/{name}".encode(), number << 22, 10).rstrip(b".") == b"%s%d" % (name.encode(), number)
    mapped = map_image(BufferSource((tmp_path / "x.img").read_bytes()), tmp_path / "x.img", 0x40000000)
    assert all(file.aligned for file in mapped.files)


@pytest.mark.slow
def test_more_inodes_than_the_content_asks_for_groups(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    first = root / "0"
    first.write_bytes(b"")
    (root / "many").mkdir()
    for number in range(31_000):
        os.symlink(str(number), root / "many" / f"{number:06d}")  # noqa: PTH211 - fast
    (root / "more").mkdir()
    for number in range(3_000):
        (root / "more" / str(number)).symlink_to("x")
    plan = build(root, tmp_path / "x.img")
    assert plan.size_bytes > 128 << 20
    assert e2fsck_findings(tmp_path / "x.img") == []
    assert len(Read(tmp_path / "x.img").targets) == 34_000


@pytest.mark.slow
def test_links_past_ext2s_count_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(31_999):
        (root / str(number)).mkdir()
    with pytest.raises(ImageError, match="/ has 32002 links, ext2 counts at most 32000"):
        plan_image(DirectorySource(root))


@pytest.mark.parametrize("address", [0, 0x20000000, 0x20100000, 0x20001000])
def test_files_of_a_megabyte_and_more_are_aligned_by_absolute_address(tmp_path: Path, address: int) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number, length in enumerate((1 << 20, (1 << 20) + 1, 3 << 20, 5_000_000, (1 << 20) - 4096)):
        (root / str(number)).write_bytes(os.urandom(length))
    for number in range(100):
        (root / f"small {number}").write_bytes(b"s" * 999)
    build(root, tmp_path / "x.img", address=address)
    read = Read(tmp_path / "x.img")
    for number in range(4):
        (run,) = read.runs[f"/{number}".encode()]
        assert (address + run.disk_block * 4096) % HUGE_PAGE_BYTES == 0
    raw = (tmp_path / "x.img").read_bytes()
    mapped = map_image(BufferSource(raw), tmp_path / "x.img", address)
    assert mapped.huge_share is not None
    assert mapped.huge_share > 0.4
    # Small files fill the gaps: all of them lie in front of the end that the large ones have.
    assert len(raw) < 8 * HUGE_PAGE_BYTES


def test_an_image_too_small_for_alignment_is_sound(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(4):
        (root / f"{number}").write_bytes(os.urandom((1 << 20) + number * 700_000))
    roomy = plan_image(DirectorySource(root)).size_bytes
    with pytest.raises(ImageError) as caught:
        plan_image(DirectorySource(root), size_bytes=1 << 20)
    least = int(str(caught.value).split()[3])
    for size_bytes in (least, (least + roomy) // 2 & ~4095, roomy - 4096):
        plan = build(root, tmp_path / "x.img", size_bytes=size_bytes)
        assert e2fsck_findings(tmp_path / "x.img") == []
        assert len(plan.notes) == 1
        for number in range(4):
            run_tool("debugfs", "-R", f'dump "/{number}" {tmp_path}/out', tmp_path / "x.img")
            assert (tmp_path / "out").read_bytes() == (root / f"{number}").read_bytes()
