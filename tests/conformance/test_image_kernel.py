"""The kernel's own ext2, by a loop mount: it agrees on everything that an image holds."""

import array
import fcntl
import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from image_support import build, digest, e2fsck_findings
from needs_support import needs

from dcss.config.sources import FilesSource

pytestmark = needs("root", "loop", "e2fsck")

FIBMAP = 1
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 7, 2**32 - 1), (2, 5, 1000), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1), (32, 4, 2**32 - 1))
)


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "ext2", "-o", "ro,loop", image, at], check=True, capture_output=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True, capture_output=True)


def make_tree(root: Path) -> None:
    (root / "dir/deep").mkdir(parents=True)
    (root / "dir").chmod(0o2751)
    (root / "empty").write_bytes(b"")
    (root / "direct").write_bytes(bytes(range(256)) * 100)
    (root / "double").write_bytes(b"d" * (6 << 20))
    (root / "hard").hardlink_to(root / "direct")
    (root / "dir/hard too").hardlink_to(root / "direct")
    (root / "fast").symlink_to("t" * 59)
    (root / "slow").symlink_to("t" * 60)
    (root / "slowest").symlink_to("/".join(["n" * 100] * 40))
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe\n name")).write_bytes(b"odd")
    os.mkfifo(root / "fifo", 0o640)
    for name, major, minor in (("null", 1, 3), ("wide", 259, 1_000_000)):
        os.mknod(root / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.mknod(root / "disk", stat.S_IFBLK | 0o660, os.makedev(8, 17))
    os.mknod(root / "socket", stat.S_IFSOCK | 0o755)
    with (root / "sparse").open("wb") as file:
        for offset in (0, 13 << 12, 1030 << 12, (1 << 20) * 4096 + 99, (1 << 32) + (5 << 20), (1 << 33)):
            file.seek(offset)
            file.write(b"data at %d" % offset)
        file.truncate((1 << 33) + (1 << 22))
    for number in range(600):
        (root / "dir/deep" / f"{number:03d}{'x' * (number % 200)}").write_bytes(b"%d" % number)
    os.setxattr(root / "direct", "user.one", b"1" * 300)
    os.setxattr(root / "direct", "user.\u00e4", b"")
    os.setxattr(root / "direct", "trusted.two", b"\0\xff")
    os.setxattr(root / "dir", "security.three", b"3")
    os.setxattr(root / "double", "system.posix_acl_access", ACL)
    os.setxattr(root / "dir/deep", "system.posix_acl_default", ACL)
    os.setxattr(root / "fast", "trusted.link", b"of a link", follow_symlinks=False)
    os.chown(root / "direct", 70_000, 2**32 - 2)
    os.chown(root / "slow", 5, 6, follow_symlinks=False)
    (root / "direct").chmod(0o6755)
    for number, path in enumerate([*root.rglob("*"), root]):
        os.utime(path, (0, number * 1_234_567 % 2**31), follow_symlinks=False)
    os.utime(root / "empty", (0, -1_000_000))


def holes(path: Path) -> list[tuple[int, int]]:
    """Return the mapped blocks of a file of the mount, as FIBMAP tells, in stretches around the interesting places."""
    interesting = {0, 1, 12, 13, 14, 1029, 1030, 1031, (1 << 20) - 1, 1 << 20, (1 << 20) + 1}
    interesting |= {(1 << 20) + 1279, (1 << 20) + 1280, (1 << 21), (1 << 21) + 1}
    with path.open("rb") as file:
        found = []
        for block in sorted(interesting):
            answer = array.array("i", [block])
            fcntl.ioctl(file, FIBMAP, answer)
            found.append((block, answer[0]))
    return found


def same(host: Path, mount: Path) -> int:
    """Compare two trees entry by entry, and return how many there are."""
    compared = 0
    for path in [host, *host.rglob("*")]:
        twin = mount / path.relative_to(host)
        wanted, found = path.lstat(), twin.lstat()
        assert stat.S_IFMT(found.st_mode) == stat.S_IFMT(wanted.st_mode), path
        for name in ("st_mode", "st_uid", "st_gid", "st_rdev"):
            assert getattr(found, name) == getattr(wanted, name), (path, name)
        assert found.st_mtime_ns // 10**9 == found.st_atime_ns // 10**9 == wanted.st_mtime_ns // 10**9, path
        if not path.is_dir() or path.is_symlink():
            assert (found.st_nlink, found.st_size) == (wanted.st_nlink, wanted.st_size), path
        names = sorted(os.listxattr(path, follow_symlinks=False))
        assert sorted(os.listxattr(twin, follow_symlinks=False)) == names, path
        for name in names:
            assert os.getxattr(twin, name, follow_symlinks=False) == os.getxattr(path, name, follow_symlinks=False)
        if path.is_symlink():
            assert twin.readlink() == path.readlink()
        elif path.is_file() and wanted.st_size < 1 << 30:
            assert digest(twin) == digest(path), path
        compared += 1
    return compared


@pytest.mark.parametrize("address", [0, 0x7FF000])
def test_the_kernel_agrees_on_everything(tmp_path: Path, address: int) -> None:
    root, image = tmp_path / "tree", tmp_path / "x.img"
    make_tree(root)
    build(root, image, address=address)
    assert e2fsck_findings(image) == []
    with mounted(image, tmp_path / "mnt") as mount:
        assert same(root, mount) == 618
        assert (mount / "lost+found").stat().st_mode == 0o40700
        assert (mount / "dir/deep").stat().st_nlink == (root / "dir/deep").stat().st_nlink == 2
        with (root / "sparse").open("rb") as ours, (mount / "sparse").open("rb") as theirs:
            for offset in (0, 13 << 12, 1030 << 12, (1 << 20) * 4096, (1 << 32) + (5 << 20), (1 << 33)):
                for place in (max(offset - 4096, 0), offset, offset + 4096):
                    assert os.pread(ours.fileno(), 8192, place) == os.pread(theirs.fileno(), 8192, place)
        mapped = {block for block, place in holes(mount / "sparse") if place}
        assert mapped == {0, 13, 1030, 1 << 20, (1 << 20) + 1280, 1 << 21}
        data_blocks, indirect_blocks = 6, 1 + 3 + 3  # IND; DIND and its leaves; TIND, one below it and its leaves
        assert (mount / "sparse").stat().st_blocks // 8 in range(data_blocks, data_blocks + indirect_blocks + 3)


def test_files_of_this_machine_resolve_in_the_image(tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    plan = build(FilesSource(("/lib/*/libc.so*", "/usr/lib/**/libm.so*", "/etc/os-release")), image)
    assert e2fsck_findings(image) == []
    with mounted(image, tmp_path / "mnt") as mount:
        files = [path for path in mount.rglob("*") if path.is_file()]
        assert plan.files is not None
        assert len(files) >= plan.files
        for path in mount.rglob("*"):
            host = Path("/") / path.relative_to(mount)
            if path.is_symlink():
                assert path.readlink() == host.readlink()
                # Absolute targets lead out of the mount: look them up below it.
                target = path.readlink()
                assert os.path.lexists(
                    mount / str(target).lstrip("/") if target.is_absolute() else path.parent / target
                )
            elif path.is_file():
                assert digest(path) == digest(host)
                assert path.stat().st_mode == host.stat().st_mode
            elif path.name != "lost+found" and path != mount:
                assert path.stat().st_mode == host.stat().st_mode


def test_files_made_in_the_spare_room_of_a_given_size(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    image = tmp_path / "x.img"
    build(tmp_path / "tree", image, size_bytes=64 << 20)
    mount = tmp_path / "mnt"
    mount.mkdir()
    subprocess.run(["mount", "-t", "ext2", "-o", "loop", image, mount], check=True, capture_output=True)
    try:
        for number in range(2000):
            (mount / f"new {number}").write_bytes(b"n" * number)
    finally:
        subprocess.run(["umount", mount], check=True, capture_output=True)
    assert e2fsck_findings(image) == []
