import lzma
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from image_support import Read, build, digest
from tar_support import WriteMode, content, info, make_tar

from dcss.config.sources import TarSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeDirectory, TreeFile, TreeNode, TreeSpecial, TreeSymlink
from dcss.image.sources.tar import read_tar

MODES: tuple[WriteMode, ...] = ("w:", "w:gz", "w:bz2", "w:xz")


SAMPLE = [
    (info("./", tarfile.DIRTYPE, mode=0o711, mtime=5), b""),
    (info("dir/big", mode=0o4755, uid=1, gid=2, mtime=77), content(300_000, 1)),
    (info("empty"), b""),
    (info("dir/link", tarfile.SYMTYPE, linkname="../empty"), b""),
    (info("hard", tarfile.LNKTYPE, linkname="dir/big"), b""),
    (info("fifo", tarfile.FIFOTYPE, mode=0o600), b""),
    (info("null", tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
    (info("z\udcff\udcfe"), content(4096, 3)),
]


def find(root: TreeDirectory, path: bytes) -> TreeNode:
    node: TreeNode = root
    for part in path.split(b"/"):
        assert isinstance(node, TreeDirectory)
        node = node.entries[part]
    return node


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_member_in_every_compression(tmp_path: Path, mode: WriteMode) -> None:
    path = make_tar(tmp_path / "x.tar", SAMPLE, mode)
    root = read_tar(TarSource(path)).root
    assert root.attributes.mode == stat.S_IFDIR | 0o711
    big = find(root, b"dir/big")
    assert isinstance(big, TreeFile)
    assert big.attributes[:4] == (stat.S_IFREG | 0o4755, 1, 2, 77)
    assert find(root, b"hard") is big
    link, null = find(root, b"dir/link"), find(root, b"null")
    assert isinstance(link, TreeSymlink)
    assert link.target == b"../empty"
    assert isinstance(null, TreeSpecial)
    assert null.rdev == os.makedev(1, 3)
    build(TarSource(path), tmp_path / "x.img")
    read = Read(tmp_path / "x.img")
    assert digest(read.content[b"/dir/big"]) == digest(content(300_000, 1))
    assert read.content[b"/z\xff\xfe"] == content(4096, 3)
    assert read.inodes[b"/hard"].links_count == 2


def test_the_compression_makes_no_difference(tmp_path: Path) -> None:
    images = []
    for mode in MODES:
        build(TarSource(make_tar(tmp_path / "x.tar", SAMPLE, mode)), tmp_path / "x.img")
        images.append(digest(tmp_path / "x.img"))
    assert images[1:] == images[:-1]


def test_extended_attributes_of_pax_headers(tmp_path: Path) -> None:
    value = "\udcff\0bin"
    headers = {"SCHILY.xattr.user.name": value, "SCHILY.acl.access": "user::rwx"}
    path = make_tar(tmp_path / "x.tar", [(info("f", pax_headers=headers), b"1")], format=tarfile.PAX_FORMAT)
    tree = read_tar(TarSource(path))
    assert find(tree.root, b"f").attributes.xattrs == ((b"user.name", b"\xff\0bin"),)
    assert tree.notes == ["f: its SCHILY.acl.access was left out"]


@pytest.mark.parametrize("options", [[], ["-z"]])
def test_sparse_members_keep_their_holes(tmp_path: Path, options: list[str]) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.write(b"head")
        file.seek(1 << 20)
        file.write(b"tail" * 2000)
        file.truncate(3 << 20)
    for form in ("gnu", "posix"):
        command: list[str | Path] = [
            "tar",
            "-C",
            tmp_path,
            *options,
            "-S",
            f"--format={form}",
            "-cf",
            tmp_path / "x.tar",
            "sparse",
        ]
        subprocess.run(command, check=True, capture_output=True)
        build(TarSource(tmp_path / "x.tar"), tmp_path / "x.img")
        read = Read(tmp_path / "x.img")
        assert digest(read.content[b"/sparse"]) == digest(tmp_path / "sparse")
        assert read.inodes[b"/sparse"].blocks_512 == (1 + 2 + 1) * 8  # head, tail, an indirect block


@pytest.mark.parametrize("mode", MODES)
def test_a_tar_cut_short_is_refused(tmp_path: Path, mode: WriteMode) -> None:
    path = make_tar(tmp_path / "x.tar", SAMPLE, mode)
    raw = path.read_bytes()
    for length in (len(raw) // 2, len(raw) // 4 + 1):
        path.write_bytes(raw[:length])
        with pytest.raises(ImageError, match=r"x\.tar"):
            build(TarSource(path), tmp_path / "x.img")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_damaged_compression_is_refused(tmp_path: Path, mode: WriteMode) -> None:
    path = make_tar(tmp_path / "x.tar", SAMPLE, mode)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ImageError, match=r"x\.tar"):
        build(TarSource(path), tmp_path / "x.img")


def test_a_damaged_header_in_the_middle_is_no_end(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", [(info("a"), b"1"), (info("b"), b"2")])
    raw = bytearray(path.read_bytes())
    raw[1024 + 5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ImageError, match=r"x\.tar is no tar, or is damaged: header at byte 1024: bad checksum"):
        read_tar(TarSource(path))


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for raw, message in (
        (b"", "is no tar"),
        (b"hello" * 1000, "is no tar"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "is damaged: zstd says"),
        (b"\x04\x22\x4d\x18" + bytes(100), "found compression lz4, wanted none, gzip, bzip2, xz or zstd"),
        (lzma.compress(b"hello" * 1000), "is no tar"),
    ):
        path.write_bytes(raw)
        with pytest.raises(ImageError, match=message):
            read_tar(TarSource(path))
    with pytest.raises(ImageError, match="found no regular file, wanted a tar"):
        read_tar(TarSource(tmp_path))


def test_a_hard_link_to_nothing_and_an_odd_member(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", [(info("h", tarfile.LNKTYPE, linkname="gone"), b"")])
    with pytest.raises(ImageError, match="h is a hard link to gone, of which nothing was found before it"):
        read_tar(TarSource(path))
    path = make_tar(tmp_path / "x.tar", [(info("label", b"V"), b""), (info("odd", b"Z"), b"data"), (info("f"), b"1")])
    tree = read_tar(TarSource(path))
    assert list(tree.root.entries) == [b"odd", b"f"]
    assert tree.notes == ["odd: a member of the unknown type 'Z' was taken for a regular file"]


def test_a_tar_that_changes_between_plan_and_write_is_refused(tmp_path: Path) -> None:
    from dcss.image.build import plan_image

    modes: tuple[WriteMode, ...] = ("w:", "w:gz")
    for mode in modes:
        path = make_tar(tmp_path / "x.tar", SAMPLE, mode)
        plan = plan_image(TarSource(path))
        os.utime(path, (1, 1))
        with (
            (tmp_path / "x.img").open("w+b") as out,
            pytest.raises(ImageError, match="changed while the image was made"),
        ):
            plan.write(out.fileno())


@pytest.mark.parametrize(("signed", "off"), [(False, 0), (True, 0), (False, 1), (True, 256)])
def test_a_checksum_of_bytes_or_of_signed_ones(tmp_path: Path, signed: bool, off: int) -> None:
    header = bytearray(info("n\udcff\udcfe").tobuf(tarfile.GNU_FORMAT))
    header[148:156] = b" " * 8
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in header) + off
    header[148:156] = b"%06o\0 " % total
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(header) + bytes(1024))
    if off:
        with pytest.raises(ImageError, match=r"checksum|wanted"):
            read_tar(TarSource(path))
    else:
        assert list(read_tar(TarSource(path)).root.entries) == [b"n\xff\xfe"]
