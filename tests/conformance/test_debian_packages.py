"""Images of Debian's own packages for s390x, against dpkg-deb, e2fsck, and their own programs under QEMU."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from ext2_support import e2fs
from loader_cache_support import decode_cache
from needs_support import needs

from dcss.config.sources import DebianSource
from dcss.ext2.mkfs.tree import Tree, TreeDirectory, TreeFile, TreeSymlink
from dcss.image.build import plan_image
from dcss.image.sources.contents import read_contents
from dcss.image.sources.debian.busybox import applet_names
from dcss.image.sources.debian.packages import fetch_packages
from dcss.image.sources.tree_paths import resolve

_SOURCE = DebianSource(("bash", "busybox", "coreutils", "gawk", "libc-bin", "sed"))

pytestmark = needs("debian_archive")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("debian") / "debian.img"
    with open(path, "w+b") as file:
        plan_image(_SOURCE).write(file.fileno())
    return path


@pytest.fixture(scope="module")
def tree() -> Tree:
    found = plan_image(_SOURCE).tree
    assert found is not None
    assert found.notes == []
    return found


@pytest.fixture(scope="module")
def root(image: Path) -> Path:
    """Return the image's content as files of the host."""
    path = image.parent / "root"
    path.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {path}", str(image)], check=True, capture_output=True)
    return path


def _run(root: Path, *words: str) -> str:
    program = os.path.realpath(f"{root}/usr/bin/{words[0]}" if "/" not in words[0] else f"{root}{words[0]}")
    command = ["qemu-s390x", "-L", str(root), program, *words[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout


@needs("e2fsck")
def test_e2fsck_finds_the_image_clean(image: Path) -> None:
    e2fs("e2fsck", "-fn", image)


@needs("dpkg-deb")
def test_every_file_is_what_dpkg_deb_unpacks(tree: Tree) -> None:
    wanted: dict[TreeFile, bytes] = {}
    for package in fetch_packages(_SOURCE).files:
        unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
            for member in tar:
                found = resolve(tree.root, member.name.encode())
                assert found is not None or member.issym(), member.name
                if member.isreg():
                    assert found is not None
                    assert isinstance(found.node, TreeFile), member.name
                    attributes = found.node.attributes
                    expected = (member.mode, member.uid, member.gid, member.mtime)
                    assert (attributes.mode & 0o7777, *attributes[1:4]) == expected, member.name
                    content = tar.extractfile(member)
                    assert content is not None
                    wanted[found.node] = content.read()
    assert len(wanted) > 500
    for file, content_found in read_contents(wanted):
        assert content_found == wanted[file]


@needs("debugfs", "qemu-s390x")
def test_busybox_itself_lists_the_applets_that_were_found(root: Path) -> None:
    listed = _run(root, "busybox", "--list").split()
    assert [name.decode() for name in applet_names((root / "usr/bin/busybox").read_bytes())] == listed


@needs("debugfs", "qemu-s390x")
def test_every_applet_can_be_called_by_its_name(root: Path, tree: Tree) -> None:
    for name in _run(root, "busybox", "--list").split():
        places = (resolve(tree.root, f"/{place}/{name}".encode()) for place in ("usr/bin", "usr/sbin"))
        assert any(found is not None for found in places), name
    directory = resolve(tree.root, b"/usr/bin")
    assert directory is not None
    assert isinstance(directory.node, TreeDirectory)
    assert isinstance(shell := directory.node.entries[b"sh"], TreeSymlink)
    assert shell.target in {b"dash", b"bash"}


@needs("debugfs", "qemu-s390x")
def test_ldconfig_of_s390x_makes_the_same_cache(root: Path) -> None:
    ours = decode_cache((root / "etc/ld.so.cache").read_bytes())
    _run(root, "/usr/sbin/ldconfig", "-X", "-r", str(root), "-C", "/etc/theirs")
    theirs = decode_cache((root / "etc/theirs").read_bytes())
    assert ours.byte_order == "big"
    assert len(ours.entries) > 10
    assert ours.plain == theirs.plain


@needs("debugfs", "qemu-s390x")
def test_programs_run_from_the_tree(root: Path) -> None:
    assert _run(root, "bash", "-c", "echo $((6 * 7))") == "42\n"
    assert _run(root, "gawk", 'BEGIN { print toupper("s390x") }') == "S390X\n"
    assert "root" in _run(root, "ls", "-la", str(root / "etc"))
