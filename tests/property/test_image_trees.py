"""Random trees become images; e2fsck, debugfs, our reader, our checker and the tree itself agree on all of them."""

import os
import re
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from image_support import Read, build, digest, e2fsck_findings, run_tool
from needs_support import needs

from dcss.ext2.fsck.check import check_image
from dcss.ext2.source import BufferSource
from dcss.image.files import image_files

BLOCK = 4096
NAMES = (
    st.binary(min_size=1, max_size=40)
    .map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0"))
    .filter(lambda name: name not in (b".", b"..", b"lost+found"))
)
LONG_NAMES = st.integers(200, 255).map(lambda length: b"n" * length)
# What a normal user could not enter, nobody could build an image of.
MODES = st.integers(0, 0o7777).map(lambda mode: mode | (0o400 if os.geteuid() == 0 else 0o700))
TIMES = st.integers(0, 2**31 - 1)
XATTRS = st.dictionaries(
    st.binary(min_size=1, max_size=20).map(lambda raw: b"user." + raw.hex().encode()),
    st.binary(max_size=200),
    max_size=3,
)
OWNERS = st.one_of(st.just((0, 0)), st.tuples(st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2)))


@dataclass
class Wanted:
    kind: str
    mode: int = 0o755
    mtime: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    owner: tuple[int, int] = (0, 0)
    pieces: list[tuple[int, bytes]] = field(default_factory=list)  # (offset, data)
    size: int = 0
    target: bytes = b""
    children: dict[bytes, "Wanted"] = field(default_factory=dict)


@st.composite
def a_file(draw: st.DrawFn) -> Wanted:
    pieces = []
    at = 0
    for _ in range(draw(st.integers(0, 3))):
        # Holes that reach behind direct, indirect and double indirect blocks.
        at += BLOCK * draw(st.sampled_from([0, 0, 1, 13, 1030, 1_050_000]))
        data = draw(st.binary(min_size=1, max_size=30)) * draw(st.sampled_from([1, 150, 4000]))
        pieces.append((at, data))
        at += -(-len(data) // BLOCK) * BLOCK
    end = max((offset + len(data) for offset, data in pieces), default=0)
    return Wanted("file", pieces=pieces, size=end + draw(st.sampled_from([0, 0, 5, BLOCK, 1 << 22])))


A_LINK = st.binary(min_size=1, max_size=80).map(lambda raw: Wanted("link", target=raw.replace(b"\0", b"0")))
A_LONG_LINK = st.sampled_from([59, 60, 61, 4000]).map(lambda length: Wanted("link", target=b"t" * length))
LEAVES = st.one_of(a_file(), a_file(), A_LINK, A_LONG_LINK, st.just(None).map(lambda _: Wanted("fifo")))
HARD = st.just(None).map(lambda _: Wanted("hard"))


@st.composite
def with_attributes(draw: st.DrawFn, wanted: st.SearchStrategy[Wanted]) -> Wanted:
    found = draw(wanted)
    found.mode, found.mtime, found.owner = draw(MODES), draw(TIMES), draw(OWNERS)
    if found.kind in ("file", "directory"):
        found.xattrs = draw(XATTRS)
    return found


def a_directory(children: st.SearchStrategy[Wanted]) -> st.SearchStrategy[Wanted]:
    entries = st.dictionaries(st.one_of(NAMES, NAMES, LONG_NAMES), children, max_size=8)
    return entries.map(lambda found: Wanted("directory", children=found))


TREES = a_directory(
    st.recursive(
        with_attributes(st.one_of(LEAVES, HARD)), lambda inner: with_attributes(a_directory(inner)), max_leaves=25
    )
)


def make(wanted: Wanted, path: bytes, files: list[bytes]) -> None:
    """Make what is wanted at `path`; `files` are those that a hard link may name."""
    match wanted.kind:
        case "file":
            with Path(os.fsdecode(path)).open("wb") as file:
                for offset, data in wanted.pieces:
                    file.seek(offset)
                    file.write(data)
                file.truncate(wanted.size)
            files.append(path)
        case "link":
            os.symlink(wanted.target, path)  # noqa: PTH211 - bytes
        case "fifo":
            os.mkfifo(path)
        case "hard":
            if files:
                os.link(files[0], path)
                return
            os.mkfifo(path)
        case "directory":
            os.makedirs(path, exist_ok=True)  # noqa: PTH103 - bytes
            for name, child in wanted.children.items():
                make(child, path + b"/" + name, files)
    for name, value in wanted.xattrs.items():
        os.setxattr(path, name, value)
    if os.geteuid() == 0:
        os.chown(path, *wanted.owner, follow_symlinks=False)
    if wanted.kind != "link":
        os.chmod(path, wanted.mode)  # noqa: PTH101 - bytes
    os.utime(path, (wanted.mtime, wanted.mtime), follow_symlinks=False)


def compare(root: bytes, read: Read) -> None:
    """Compare the host's tree with what our reader finds."""
    paths = {b"/"}
    for directory, directories, names in os.walk(root):
        paths |= {b"/" + os.path.relpath(os.path.join(directory, name), root) for name in [*directories, *names]}  # noqa: PTH118
    assert paths | {b"/lost+found"} == set(read.inodes)
    for path in paths:
        host = root + path
        found, inode = os.lstat(host), read.inodes[path]
        assert (inode.mode, inode.uid, inode.gid, inode.mtime) == (
            found.st_mode, found.st_uid, found.st_gid, int(found.st_mtime),
        )  # fmt: skip
        if not inode.is_dir:
            assert inode.links_count == found.st_nlink
        if inode.is_symlink:
            assert read.targets[path] == os.readlink(host)  # noqa: PTH115
        else:
            xattrs = {os.fsencode(name): os.getxattr(host, name) for name in os.listxattr(host)}
            assert read.xattrs[path] == xattrs
        if inode.is_regular:
            assert inode.size_bytes == found.st_size
            compare_content(host, read, path)


def compare_content(host: bytes, read: Read, path: bytes) -> None:
    """Compare data and holes; block by block would take minutes for a file of gigabytes."""
    descriptor = os.open(host, os.O_RDONLY)
    try:
        size, at, extents = os.fstat(descriptor).st_size, 0, []
        while at < size:
            try:
                start = os.lseek(descriptor, at, os.SEEK_DATA)
            except OSError:
                break
            at = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
            extents.append((start // BLOCK, -(-at // BLOCK)))
            assert digest(read.part(path, start, at - start)) == digest(os.pread(descriptor, at - start, start))
    finally:
        os.close(descriptor)
    mapped: list[tuple[int, int]] = []
    for run in read.runs[path]:
        if run.disk_block:
            first, end = run.file_block, run.file_block + run.blocks
            if mapped and mapped[-1][1] == first:
                mapped[-1] = (mapped[-1][0], end)
            else:
                mapped.append((first, end))
    assert mapped == extents


def ask_debugfs(image: Path, read: Read) -> None:
    """Let debugfs tell type, mode, owner, size, links and time of every inode."""
    with tempfile.NamedTemporaryFile("w", suffix=".cmd") as commands:
        numbers = sorted({inode.number: path for path, inode in read.inodes.items()}.items())
        commands.write("".join(f"stat <{number}>\n" for number, _ in numbers))
        commands.flush()
        told = run_tool("debugfs", "-f", commands.name, image).stdout
    parts = re.split(r"^debugfs: stat <\d+>$", told, flags=re.MULTILINE)[1:]
    kinds = {
        stat.S_IFREG: "regular", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "FIFO"
    }  # fmt: skip
    for (number, path), part in zip(numbers, parts, strict=True):
        inode = read.inodes[path]
        fields = dict(reversed(re.findall(r"(Inode|Type|Mode|User|Group|Size|Links|Blockcount): +(\S+)", part)))
        assert int(fields["Inode"]) == number
        assert fields["Type"] == kinds[stat.S_IFMT(inode.mode)]
        assert int(fields["Mode"], 8) == stat.S_IMODE(inode.mode)
        owners = [int(fields[name]) & 0xFFFFFFFF for name in ("User", "Group")]  # it prints them signed
        assert owners == [inode.uid, inode.gid]
        assert (int(fields["Links"]), int(fields["Blockcount"])) == (inode.links_count, inode.blocks_512)
        if stat.S_IFMT(inode.mode) != stat.S_IFIFO:
            assert int(fields["Size"]) == inode.size_bytes
        assert f"mtime: 0x{inode.mtime & 0xFFFFFFFF:08x}" in part


@needs("e2fsck", "debugfs")
@given(TREES, st.sampled_from([0, 0x1000, 0x20000000]))
def test_every_tree_becomes_an_image_that_all_agree_on(tree: Wanted, address: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root, image = Path(scratch, "tree"), Path(scratch, "x.img")
        make(tree, os.fsencode(root), [])
        plan = build(root, image, address=address)
        assert e2fsck_findings(image) == []
        raw = image.read_bytes()
        assert check_image(BufferSource(raw)).problems == ()
        read = Read(image)
        compare(os.fsencode(root), read)
        ask_debugfs(image, read)
        assert {file.inode for file in image_files(BufferSource(raw)).files} == {
            inode.number for inode in read.inodes.values() if inode.is_regular
        }
        assert plan.files == len(image_files(BufferSource(raw)).files)
        build(root, image, address=address)
        assert digest(image) == digest(raw)
