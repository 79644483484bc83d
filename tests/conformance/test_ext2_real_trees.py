"""Real trees of thousands of files: debugfs and the kernel, which nobody here wrote, agree on every one."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from hashlib import sha256
from pathlib import Path

import pytest
from ext2_support import debugfs, e2fs, make_image, map_image, pieces
from needs_support import needs

from dcss.ext2.inode import Inode
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

pytestmark = [pytest.mark.slow, needs("mke2fs", "debugfs")]

MOST_BYTES = 250 << 20
LEAST_FILES = 1000
FIBMAP = 1  # linux/fs.h


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of this machine's /usr, with its links, as much as MOST_BYTES hold."""
    root = tmp_path_factory.mktemp("ext2-real") / "root"
    left_bytes = MOST_BYTES
    files = 0
    for top in ("/usr/lib", "/usr/share/zoneinfo", "/usr/include", "/etc"):
        for directory, names, leaves in os.walk(top):
            names.sort()
            here = root / directory.lstrip("/")
            here.mkdir(parents=True, exist_ok=True)
            for leaf in sorted(leaves):
                path = Path(directory, leaf)
                status = path.lstat()
                if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)) or not os.access(path, os.R_OK):
                    continue
                if status.st_size > left_bytes // 4:
                    continue
                shutil.copy2(path, here / leaf, follow_symlinks=False)
                left_bytes -= status.st_size
                files += 1
    assert files > LEAST_FILES
    return root


@pytest.fixture(scope="module", params=[1024, 4096])
def image(request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ext2-image") / "image"
    make_image(path, "400M", "-b", str(request.param), "-I", "128", "-N", "60000", tree=tree)
    e2fs("e2fsck", "-fn", path)
    return path


def digests(volume: Volume, source: BufferSource) -> dict[bytes, str]:
    """Return path and digest of every regular file, target of every link, type of the rest."""
    return {path: digest(volume, source, inode) for path, inode in volume.walk()}


def digest(volume: Volume, source: BufferSource, inode: Inode) -> str:
    if inode.is_symlink:
        return "-> " + os.fsdecode(volume.readlink(inode))
    if not inode.is_regular:
        return oct(inode.mode)
    hashed = sha256()
    for piece in pieces(source, volume, inode):
        hashed.update(piece)
    return hashed.hexdigest()


def digests_of(root: Path) -> dict[bytes, str]:
    """The same of a directory of this machine."""
    found = {b"/": oct(root.stat().st_mode)}
    for directory, names, leaves in os.walk(root):
        for name in (*names, *leaves):
            path = Path(directory, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                what = "-> " + os.fsdecode(path.readlink())
            elif stat.S_ISREG(mode):
                what = sha256(path.read_bytes()).hexdigest()
            else:
                what = oct(mode)
            found[b"/" + os.fsencode(path.relative_to(root))] = what
    return found


def test_content_as_the_tree_has_it(tree: Path, image: Path) -> None:
    source = map_image(image)
    volume = Volume.mount(source)
    found = digests(volume, source)
    del found[b"/lost+found"]
    assert len(found) > LEAST_FILES
    assert found == digests_of(tree)


def test_content_as_debugfs_dumps_it(image: Path, tmp_path: Path) -> None:
    source = map_image(image)
    volume = Volume.mount(source)
    debugfs(image, f"rdump / {tmp_path}")
    dumped, found = digests_of(tmp_path), digests(volume, source)
    # debugfs does not set the modes of directories that it makes before they are filled; files are the point.
    for paths in (dumped, found):
        for path in [path for path, what in paths.items() if what.startswith("0o4")]:
            del paths[path]
    assert found == dumped


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "ext2", "-o", "ro,loop", image, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@needs("loop")
def test_the_kernel_agrees_on_content_and_attributes(image: Path, tmp_path: Path) -> None:
    source = map_image(image)
    volume = Volume.mount(source)
    with mounted(image, tmp_path / "mount") as root:
        assert digests(volume, source) == digests_of(root)
        for path, inode in volume.walk():
            status = (root / os.fsdecode(path.lstrip(b"/"))).lstat()
            assert (inode.number, inode.mode, inode.links_count) == (status.st_ino, status.st_mode, status.st_nlink)
            assert (inode.uid, inode.gid, inode.size_bytes) == (status.st_uid, status.st_gid, status.st_size)
            assert (inode.blocks_512, inode.mtime) == (status.st_blocks, int(status.st_mtime))


@needs("loop")
def test_the_kernel_agrees_on_every_block(image: Path, tmp_path: Path) -> None:
    volume = Volume.mount(map_image(image))
    with mounted(image, tmp_path / "mount") as root:
        largest = sorted((inode.size_bytes, path) for path, inode in volume.walk() if inode.is_regular)[-300:]
        for _, path in largest:
            inode = volume.resolve(path)
            with (root / os.fsdecode(path[1:])).open("rb") as file:
                for run in volume.runs(inode):
                    for i in {0, 1, run.blocks // 2, run.blocks - 1} & set(range(run.blocks)):
                        asked = (run.file_block + i).to_bytes(4, "little")
                        block = int.from_bytes(ioctl(file, FIBMAP, asked), "little")
                        assert block == (run.disk_block and run.disk_block + i), (path, run)


@needs("loop")
def test_the_kernel_agrees_on_attributes_and_lists(tmp_path: Path) -> None:
    image = make_image(tmp_path / "image", "8M", "-b", "4096", "-I", "128")
    mount = tmp_path / "mount"
    mount.mkdir()
    subprocess.run(["mount", "-t", "ext2", "-o", "loop,acl,user_xattr", image, mount], check=True)
    try:
        (mount / "file").write_bytes(b"x")
        os.setxattr(mount / "file", "user.note", b"\0any\xff")
        os.setxattr(mount / "file", "trusted.t", b"")
        os.setxattr(mount / "file", "security.test", b"s" * 1000)
        no_one = 0xFFFFFFFF
        entries = ((1, 7, no_one), (2, 5, 1234), (4, 5, no_one), (8, 4, 77), (0x10, 7, no_one), (0x20, 1, no_one))
        acl = (2).to_bytes(4, "little") + b"".join(
            tag.to_bytes(2, "little") + permissions.to_bytes(2, "little") + owner.to_bytes(4, "little")
            for tag, permissions, owner in entries
        )
        os.setxattr(mount / "file", "system.posix_acl_access", acl)
        os.setxattr(mount, "system.posix_acl_default", acl)
        wanted = {
            path: {os.fsencode(name): os.getxattr(mount / path, name) for name in os.listxattr(mount / path)}
            for path in ("file", "")
        }
    finally:
        subprocess.run(["umount", mount], check=True)
    volume = Volume.mount(map_image(image))
    assert len(wanted["file"]) == 4
    for path, attributes in wanted.items():
        assert volume.xattrs(volume.resolve(b"/" + path.encode())) == attributes
