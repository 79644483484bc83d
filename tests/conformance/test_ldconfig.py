"""Our /etc/ld.so.cache and links against those of this machine's ldconfig."""

import shutil
import subprocess
from pathlib import Path

import pytest
from elf_support import AMD64, shared_object
from loader_cache_support import decode_cache
from needs_support import needs, tool

from dcss.config.sources import DirectorySource
from dcss.ext2.mkfs.tree import TreeDirectory, TreeSymlink, walk
from dcss.image.sources.debian.architectures import ARCHITECTURES
from dcss.image.sources.debian.ldconfig import configure_loader
from dcss.image.sources.directory import read_directory

_LARGE_BYTES = 400_000
_TRIPLET = "x86_64-linux-gnu"


def _links(root: TreeDirectory) -> dict[bytes, bytes]:
    return {
        path + b"/" + name: node.target
        for path, directory in walk(root)
        for name, node in directory.entries.items()
        if isinstance(node, TreeSymlink)
    }


def _compare(place: Path) -> int:
    """Have both work on the tree, compare everything that they made, and return the number of entries."""
    tree = read_directory(DirectorySource(place))
    ours = decode_cache(configure_loader(tree.root, ARCHITECTURES["amd64"]).cache)
    program = tool("ldconfig") or "ldconfig"
    subprocess.run([program, "-r", place], check=True, capture_output=True)
    theirs = decode_cache((place / "etc/ld.so.cache").read_bytes())
    assert ours.entries == theirs.entries
    assert ours.plain == theirs.plain
    assert _links(tree.root) == _links(read_directory(DirectorySource(place)).root)
    return len(ours.entries)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "etc/ld.so.conf.d").mkdir(parents=True)
    (tmp_path / "usr/lib" / _TRIPLET).mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "etc/ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf\n")
    (tmp_path / "etc/ld.so.conf.d/x.conf").write_text(f"/usr/local/lib\n/lib/{_TRIPLET}\n/usr/lib/{_TRIPLET}\n")
    return tmp_path


@needs("ldconfig")
def test_libraries_of_this_machine(place: Path) -> None:
    source = Path("/usr/lib") / _TRIPLET
    if not (source / "libc.so.6").exists():
        pytest.skip(f"needs Debian's libraries for amd64 in {source}")
    for found in sorted(source.iterdir()):
        if found.is_file() and not found.is_symlink() and found.stat().st_size < _LARGE_BYTES:
            shutil.copyfile(found, place / "usr/lib" / _TRIPLET / found.name)
    for found in sorted(source.iterdir()):
        link = place / "usr/lib" / _TRIPLET / found.name
        if found.is_symlink() and (link.parent / found.readlink()).is_file():
            link.symlink_to(found.readlink())
    assert _compare(place) > 20


@needs("ldconfig")
def test_odd_names_versions_and_links(place: Path) -> None:
    libraries = place / "usr/lib" / _TRIPLET
    sonames = {
        "liba.so.1.9": "liba.so.1",
        "liba.so.1.10": "liba.so.1",
        "libb.so.2": "libb.so.2",
        "libb.so.2.1": "libb.so.2",
        "libc-none.so": None,
        "libd.so.1.0.0": "libother.so.7",
        "ld-linux-x86-64.so.2": "ld-linux-x86-64.so.2",
        "ld.so.1": "ld.so.1",
        "libf.so.1.#prelink#": "libf.so.1",
        "plugin.so.1": "plugin.so.1",
        "libg.so.1": "libg.so.1",
        "libspace .so.1": "libspace .so.1",
    }
    for name, soname in sonames.items():
        (libraries / name).write_bytes(shared_object(soname, AMD64))
    (libraries / "liba.so").symlink_to("liba.so.1")
    (libraries / "liba.so.1").symlink_to("liba.so.1.9")
    (libraries / "libd.so").symlink_to("libd.so.1.0.0")
    (libraries / "libelsewhere.so.3").symlink_to("/usr/lib/libh.so.3.1")
    (libraries / "libdangling.so").symlink_to("nowhere")
    (place / "usr/lib/libh.so.3.1").write_bytes(shared_object("libh.so.3", AMD64))
    (libraries / "libscript.so").write_text("/* GNU ld script */ GROUP ( libc.so.6 )")
    (libraries / "libdir.so.1").mkdir()
    assert _compare(place) > 10


@needs("ldconfig")
def test_libraries_of_one_name_in_several_directories(place: Path) -> None:
    for directory in ("opt/a", "opt/b"):
        (place / directory).mkdir(parents=True)
        for name in ("liba.so.1.1", "libb.so.2"):
            (place / directory / name).write_bytes(shared_object(name[:9], AMD64))
    (place / "etc/ld.so.conf").write_text("/opt/b/\n/opt/a\n/opt/b\n")
    assert _compare(place) == 4
