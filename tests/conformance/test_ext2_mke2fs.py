"""Images of every kind that mke2fs makes, read back byte by byte and compared with the tree and with debugfs."""

import os
import re
import stat
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from ext2_support import content, debugfs, e2fs, make_image, map_image
from needs_support import needs

from dcss.ext2.inode import Inode
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

pytestmark = needs("mke2fs", "debugfs")

FEATURES = {
    "default": (),
    "none": ("-O", "none"),
    "revision-0": ("-r", "0", "-O", "none"),
    "no-filetype": ("-O", "^filetype"),
    "no-sparse-super": ("-O", "^sparse_super,^resize_inode"),
    "sparse-super2": ("-O", "sparse_super2,^resize_inode"),
    "meta-bg": ("-O", "meta_bg,^resize_inode", "-g", "256"),
    "meta-bg-sparse-super2": ("-O", "meta_bg,sparse_super2,^resize_inode", "-g", "256"),
    "no-large-file": ("-O", "^large_file,^dir_index,^ext_attr"),
    "journal": ("-O", "has_journal"),
    "ro-compat": ("-O", "metadata_csum,huge_file,dir_nlink,extra_isize,quota"),
}
BLOCK_SIZES = (1024, 2048, 4096)
INODE_SIZES = (128, 256, 512, 1024)


def fill(path: Path, pieces: dict[int, bytes], size: int) -> None:
    with path.open("wb") as file:
        for at, piece in pieces.items():
            file.seek(at)
            file.write(piece)
        file.truncate(size)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every size that matters, links, holes, names of any bytes, and, for root, devices and owners."""
    root = tmp_path_factory.mktemp("ext2-tree") / "root"
    (root / "deep" / "a" / "b" / ("d" * 255)).mkdir(parents=True)
    for size in (0, 1, 59, 60, 1023, 1024, 1025, 4096, 12 * 1024, 12 * 1024 + 1, 48 * 1024 + 1, 300 * 1024, 1 << 20):
        fill(root / f"file-{size}", {0: os.urandom(size)}, size)
    fill(root / "hole-first", {700 << 10: b"end" * 1000}, 710 << 10)
    fill(root / "hole-last", {0: b"start" * 1000}, 5 << 20)
    fill(root / "holes", {4096 * i: bytes([i]) * 4096 for i in range(1, 90, 3)}, 400000)
    fill(root / "sparse-3g", {0: b"a", (3 << 30) + 5: b"far", (2 << 30) - 1: b"xy"}, (3 << 30) + 9000)
    os.link(root / "file-1024", root / "deep" / "other name of file-1024")
    os.link(root / "file-1024", root / "third")
    for length in (1, 59, 60, 61, 1000):
        (root / f"link-{length}").symlink_to("t" * length)
    with (root / "deep" / os.fsdecode(b"\xff\xfe not utf-8 \n")).open("wb") as odd:
        odd.write(b"odd")
    for number in range(400):
        (root / "deep" / "a" / f"one of many entries, number {number}").touch()
    os.mkfifo(root / "fifo", 0o620)
    (root / "file-60").chmod(0o4711)
    os.utime(root / "file-59", (-5, 1 << 30))
    if os.geteuid() == 0:
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(root / "wide", stat.S_IFBLK | 0o600, os.makedev(300, 70000))
        os.chown(root / "file-1", 100000, 70000)
    return root


def image_of(tree: Path, tmp_path: Path, features: str, block_size: int, inode_size: int) -> Path:
    options = ["-b", str(block_size), *FEATURES[features], "-N", "2048"]
    if features != "revision-0":
        options += ["-I", str(inode_size)]
    size = "200M" if features.startswith("meta") and block_size == 4096 else "40M"
    return make_image(tmp_path / "image", size, *options, tree=tree)


def of_tree(root: Path) -> Iterator[tuple[bytes, Path]]:
    yield b"/", root
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory, name)
            yield b"/" + os.fsencode(path.relative_to(root)), path


def check_against_tree(root: Path, volume: Volume, source: BufferSource) -> dict[bytes, Inode]:
    """Compare everything that stat(2), readlink(2) and read(2) tell; return what the volume has."""
    found = dict(volume.walk())
    wanted = dict(of_tree(root))
    assert sorted(found) == sorted([*wanted, b"/lost+found"])
    has_filetype = volume.superblock.s_feature_incompat & 2
    for name, path in wanted.items():
        inode, status = found[name], path.lstat()
        assert inode == volume.resolve(name, follow=False)
        assert inode.mode == status.st_mode, name
        if name != b"/":  # mke2fs gives its root an owner of its own, and changes it last
            assert (inode.uid, inode.gid) == (status.st_uid, status.st_gid), name
            assert inode.mtime == status.st_mtime // 1, name
        if inode.is_dir:
            entries = {entry.name: entry for entry in volume.entries(inode)}
            names = {os.fsencode(entry.name) for entry in path.iterdir()} | {b".", b".."}
            assert set(entries) - {b"lost+found"} == names
            types = {
                stat.S_IFREG: 1,
                stat.S_IFDIR: 2,
                stat.S_IFCHR: 3,
                stat.S_IFBLK: 4,
                stat.S_IFIFO: 5,
                stat.S_IFLNK: 7,
            }
            for entry in entries.values():
                assert entry.file_type == (types[stat.S_IFMT(volume.inode(entry.inode).mode)] if has_filetype else 0)
            continue
        assert inode.links_count == status.st_nlink, name
        if inode.is_regular:
            assert inode.size_bytes == status.st_size, name
            if status.st_size < 1 << 30:
                assert content(source, volume, inode) == path.read_bytes(), name
        elif inode.is_symlink:
            assert volume.readlink(inode) == os.fsencode(path.readlink())
            assert inode.is_fast_symlink == (inode.size_bytes < 60)
        elif inode.is_device:
            assert inode.rdev == (os.major(status.st_rdev), os.minor(status.st_rdev))
    return found


RUN = re.compile(r"\(([A-Z]*)(\d+)?(?:-(\d+))?\):(\d+)(?:-(\d+))?")


def debugfs_blocks(report: str) -> tuple[dict[int, int], list[int]]:
    """Parse debugfs's BLOCKS: line into file block -> block, and the blocks of pointers."""
    data, metadata = {}, []
    for kind, first, last, block, _ in RUN.findall(report.partition("BLOCKS:\n")[2].partition("TOTAL")[0]):
        if kind:
            metadata.append(int(block))
            continue
        for i in range(int(last or first) - int(first) + 1):
            data[int(first) + i] = int(block) + i
    return data, metadata


def check_against_debugfs(image: Path, volume: Volume, inodes: dict[bytes, Inode]) -> None:
    """Compare what debugfs's stat prints for every inode, above all its list of blocks."""
    numbers = sorted({inode.number for inode in inodes.values()})
    output = debugfs(image, *(f"stat <{number}>" for number in numbers))
    reports = re.split(r"^(?=Inode: )", output, flags=re.MULTILINE)[1:]
    assert len(reports) == len(numbers)
    for number, report in zip(numbers, reports, strict=True):
        inode = volume.inode(number)

        def field(pattern: str, report: str = report) -> int:
            match = re.search(pattern, report)
            assert match, (pattern, report)
            return int(match[1], 0)

        assert field(r"Inode: (\d+)") == number
        assert int(re.search(r"Mode: +(\d+)", report)[1], 8) == stat.S_IMODE(inode.mode)  # type: ignore[index]
        assert field(r"User: +(\d+)") == inode.uid
        assert field(r"Group: +(\d+)") == inode.gid
        assert field(r"Size: (\d+)") == inode.size_bytes
        assert field(r"Links: (\d+)") == inode.links_count
        assert field(r"Blockcount: (\d+)") == inode.blocks_512
        assert field(r"File ACL: (\d+)") == inode.file_acl
        assert field(r"Generation: (\d+)") == inode.generation
        for name in ("atime", "ctime", "mtime"):
            assert field(rf"{name}: (0x[0-9a-f]+)") == getattr(inode, name) & 0xFFFFFFFF
        if inode.has_block_map:
            data, metadata = debugfs_blocks(report)
            mapped = {
                run.file_block + i: run.disk_block + i
                for run in volume.runs(inode)
                if run.disk_block
                for i in range(run.blocks)
            }
            assert mapped == data, report
            assert list(volume.indirect_blocks(inode)) == metadata
            for block in (*list(data)[:20], *list(data)[-20:]):
                assert volume.get_block(inode, block) == data[block]


def check(tree: Path, image: Path) -> None:
    lines: list[tuple[str, str]] = []
    source = map_image(image)
    volume = Volume.mount(source, log=lambda level, line: lines.append((level, line)))
    assert [line for _, line in lines if "ext3 filesystem as ext2" not in line] == []
    inodes = check_against_tree(tree, volume, source)
    check_against_debugfs(image, volume, inodes)


# Each feature with each block size, inode sizes in turn; the full product is slow.
SOME = [
    (feature, block_size, [size for size in INODE_SIZES if size <= block_size][(i + j) % 4])
    for i, feature in enumerate(FEATURES)
    for j, block_size in enumerate(BLOCK_SIZES)
]


@pytest.mark.parametrize(("features", "block_size", "inode_size"), SOME)
def test_matrix(tree: Path, tmp_path: Path, features: str, block_size: int, inode_size: int) -> None:
    check(tree, image_of(tree, tmp_path, features, block_size, inode_size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "block_size", "inode_size"), sorted(set(product(FEATURES, BLOCK_SIZES, INODE_SIZES)) - set(SOME))
)
def test_whole_matrix(tree: Path, tmp_path: Path, features: str, block_size: int, inode_size: int) -> None:
    check(tree, image_of(tree, tmp_path, features, block_size, inode_size))


@needs("e2fsck")
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_directories_with_an_index_of_hashes(tree: Path, tmp_path: Path, block_size: int) -> None:
    image = image_of(tree, tmp_path, "default", block_size, 128)
    e2fs("e2fsck", "-fyD", image, accept=(0, 1))
    volume = Volume.mount(map_image(image))
    many = volume.resolve(b"/deep/a")
    assert many.flags & 0x1000, "e2fsck made no index: the test needs more entries"
    check(tree, image)
    for entry in volume.entries(many):
        assert volume.lookup(many, entry.name) == entry.inode


@pytest.mark.parametrize("inode_size", [128, 256])
def test_attributes_as_debugfs_set_them(tree: Path, tmp_path: Path, inode_size: int) -> None:
    image = image_of(tree, tmp_path, "default", 4096, inode_size)
    long = tmp_path / "value"
    long.write_bytes(bytes(range(256)) * 12)
    debugfs(
        image,
        f'ea_set -f "{long}" /file-1 user.long',
        "ea_set /file-1 user.mime text/plain",
        "ea_set /file-1 trusted.t 1",
        "ea_set /file-1 security.selinux label",
        "ea_set /deep user.of.directory yes",
        write=True,
    )
    volume = Volume.mount(map_image(image))
    found = volume.xattrs(volume.resolve(b"/file-1"))
    listed = debugfs(image, "ea_list /file-1")
    names = {b"user.long", b"user.mime", b"trusted.t", b"security.selinux"}
    assert all(name.decode() in listed for name in names)
    # What fits goes into large inodes, where ext2 does not look; the long value cannot.
    assert found[b"user.long"] == long.read_bytes()
    if inode_size == 128:
        assert set(found) == names
        assert (found[b"user.mime"], found[b"security.selinux"]) == (b"text/plain", b"label")
        assert volume.xattrs(volume.resolve(b"/deep")) == {b"user.of.directory": b"yes"}
    else:
        assert set(found) < names
        assert volume.xattrs(volume.resolve(b"/deep")) == {}
    assert volume.xattrs(volume.resolve(b"/file-59")) == {}


@pytest.mark.parametrize(
    ("options", "bits"),
    [
        (("-O", "extents"), 0x40),
        (("-O", "extents,64bit"), 0xC0),
        (("-O", "inline_data", "-I", "256"), 0x8000),
        (("-O", "encrypt"), 0x10000),
        (("-O", "flex_bg"), 0x200),
        (("-O", "mmp"), 0x100),
        (("-O", "large_dir"), 0x4000),
        (("-O", "ea_inode"), 0x400),
        (("-O", "casefold"), 0x20000),
        (("-O", "journal_dev"), 0x8),
    ],
)
def test_features_beyond_ext2_are_refused(tmp_path: Path, options: tuple[str, ...], bits: int) -> None:
    image = make_image(tmp_path / "image", "16M", "-b", "4096", *options)
    with pytest.raises(OSError, match=rf"couldn't mount because of unsupported optional features \({bits:x}\)"):
        Volume.mount(map_image(image))


def test_a_journal_to_be_replayed_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "image", "16M", "-j")
    debugfs(image, "feature needs_recovery", write=True)
    with pytest.raises(OSError, match=r"unsupported optional features \(4\)"):
        Volume.mount(map_image(image))


@pytest.mark.parametrize("block_size", [8192, 16384, 32768, 65536])
def test_blocks_larger_than_a_page_are_refused(tmp_path: Path, block_size: int) -> None:
    image = make_image(tmp_path / "image", "64M", "-b", str(block_size))
    with pytest.raises(OSError, match=f"error: bad blocksize {block_size}"):
        Volume.mount(map_image(image))
    with pytest.raises(OSError, match="error: unsupported blocksize for xip"):
        Volume.mount(map_image(image), xip=True)


@pytest.mark.parametrize(("block_size", "fits"), [(1024, False), (2048, False), (4096, True)])
def test_xip_needs_blocks_of_a_page(tmp_path: Path, block_size: int, fits: bool) -> None:
    source = map_image(make_image(tmp_path / "image", "8M", "-b", str(block_size)))
    if fits:
        assert Volume.mount(source, xip=True).xip
    else:
        with pytest.raises(OSError, match="error: unsupported blocksize for xip"):
            Volume.mount(source, xip=True)
