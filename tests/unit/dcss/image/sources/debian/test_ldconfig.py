"""What ldconfig would do in a tree."""

import os
from pathlib import Path

import pytest
from elf_support import AMD64, MIPS, S390X, shared_object
from loader_cache_support import CacheEntry, decode_cache

from dcss.config.sources import DirectorySource
from dcss.ext2.mkfs.tree import Tree, TreeSymlink
from dcss.image.sources.debian.architectures import ARCHITECTURES
from dcss.image.sources.debian.ldconfig import configure_loader
from dcss.image.sources.directory import read_directory
from dcss.image.sources.elf import ElfKind
from dcss.image.sources.tree_paths import directory_at

_LIBRARIES = Path("usr/lib/s390x-linux-gnu")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / _LIBRARIES).mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    return tmp_path


def _tree(place: Path) -> Tree:
    return read_directory(DirectorySource(place))


def _entries(tree: Tree) -> tuple[CacheEntry, ...]:
    return decode_cache(configure_loader(tree.root, ARCHITECTURES["s390x"]).cache).entries


def _write(place: Path, path: str, soname: str | None, kind: ElfKind = S390X) -> None:
    (place / path).parent.mkdir(parents=True, exist_ok=True)
    (place / path).write_bytes(shared_object(soname, kind))


def test_a_library_gets_the_link_that_programs_ask_for(place: Path) -> None:
    _write(place, "usr/lib/s390x-linux-gnu/liba.so.1.2", "liba.so.1")
    tree = _tree(place)
    assert _entries(tree) == (CacheEntry(0x403, b"liba.so.1", b"/usr/lib/s390x-linux-gnu/liba.so.1"),)
    directory = directory_at(tree.root, os.fsencode("/" / _LIBRARIES))
    assert directory is not None
    link = directory.entries[b"liba.so.1"]
    assert isinstance(link, TreeSymlink)
    assert link.target == b"liba.so.1.2"


def test_the_link_leads_to_the_newest_library_unless_a_file_has_its_name(place: Path) -> None:
    for name in ("liba.so.1.9", "liba.so.1.10", "libb.so.1.1", "libb.so.1"):
        _write(place, str(_LIBRARIES / name), name[:9])
    (place / _LIBRARIES / "liba.so.1").symlink_to("liba.so.1.9")
    tree = _tree(place)
    assert [entry.name for entry in _entries(tree)] == [b"libb.so.1", b"liba.so.1"]
    directory = directory_at(tree.root, os.fsencode("/" / _LIBRARIES))
    assert directory is not None
    assert isinstance(link := directory.entries[b"liba.so.1"], TreeSymlink)
    assert link.target == b"liba.so.1.10"
    assert not isinstance(directory.entries[b"libb.so.1"], TreeSymlink)


def test_what_is_no_library_is_left_out(place: Path) -> None:
    libraries = place / _LIBRARIES
    (libraries / "libscript.so").write_text("GROUP ( libc.so.6 )")
    (libraries / "libempty.so.1").touch()
    (libraries / "libdir.so.1").mkdir()
    (libraries / "libdangling.so.1").symlink_to("nowhere")
    (libraries / "libprogram.so.1").write_bytes(shared_object("libprogram.so.1", S390X, elf_type=2))
    (libraries / "libmips.so.1").write_bytes(shared_object("libmips.so.1", MIPS))
    for name in ("plugin.so", "liba.so.1.#prelink#", "libnone"):
        _write(place, str(_LIBRARIES / name), "libx.so.1")
    assert _entries(_tree(place)) == ()


def test_a_damaged_library_is_noted_and_left_out(place: Path) -> None:
    (place / _LIBRARIES / "libcut.so.1").write_bytes(shared_object("libcut.so.1", S390X)[:100])
    setup = configure_loader(_tree(place).root, ARCHITECTURES["s390x"])
    assert len(setup.notes) == 1
    assert "/usr/lib/s390x-linux-gnu/libcut.so.1" in setup.notes[0]


def test_directories_are_searched_in_order_and_each_once(place: Path) -> None:
    (place / "lib").symlink_to("usr/lib")
    (place / "etc/ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf  # first\n/opt/lib/=libc6\nhwcap 0 x\n")
    (place / "etc/ld.so.conf.d").mkdir()
    (place / "etc/ld.so.conf.d/b.conf").write_text("/srv/b\n/missing\n")
    (place / "etc/ld.so.conf.d/a.conf").write_text("include ../ld.so.conf\n/srv/a\n")
    (place / "etc/ld.so.conf.d/.hidden.conf").write_text("/srv/hidden\n")
    places = ("srv/a", "srv/b", "srv/hidden", "opt/lib", "usr/lib", "usr/lib/s390x-linux-gnu")
    for directory in places:
        _write(place, f"{directory}/liba.so.1", "liba.so.1")
    found = [entry.path for entry in _entries(_tree(place))]
    expected = ("/opt/lib", "/srv/a", "/srv/b", "/lib/s390x-linux-gnu", "/lib")
    assert found == [f"{directory}/liba.so.1".encode() for directory in expected]


def test_each_kind_of_program_has_entries_of_its_own(place: Path) -> None:
    for directory, kind in (("a", S390X), ("b", AMD64)):
        _write(place, f"srv/{directory}/liba.so.1", "liba.so.1", kind)
    (place / "etc/ld.so.conf").write_text("/srv/a\n/srv/b\n")
    assert [(entry.flags, entry.path) for entry in _entries(_tree(place))] == [
        (0x403, b"/srv/a/liba.so.1"),
        (0x303, b"/srv/b/liba.so.1"),
    ]
