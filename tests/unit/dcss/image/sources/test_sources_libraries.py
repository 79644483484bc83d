"""The order in which libraries are looked for, on files that have nothing but what the loader reads of them."""

import os
import struct
from pathlib import Path

import pytest

from dcss.image.sources import libraries
from dcss.image.sources.libraries import LibrarySearch

X86_64, AARCH64 = 62, 183
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_RPATH, DT_RUNPATH = 1, 5, 10, 15, 29


def elf(
    path: Path,
    *needed: str,
    rpath: str | None = None,
    runpath: str | None = None,
    interpreter: str | None = None,
    machine: int = X86_64,
) -> bytes:
    """Write a dynamically linked file and return its path."""
    strings = b"\0"
    entries: list[tuple[int, int]] = []
    for tag, text in [*((DT_NEEDED, each) for each in needed), (DT_RPATH, rpath), (DT_RUNPATH, runpath)]:
        if text is not None:
            entries.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    interpreter_at = len(strings)
    strings += (interpreter or "").encode() + b"\0"
    segments = 3 if interpreter else 2
    strings_at = 64 + 56 * segments
    dynamic_at = strings_at + len(strings)
    entries += [(DT_STRTAB, strings_at), (DT_STRSZ, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<2Q", *entry) for entry in entries)
    size = dynamic_at + len(dynamic)
    headers = [(PT_LOAD, 0, size), (PT_DYNAMIC, dynamic_at, len(dynamic))]
    if interpreter:
        headers.append((PT_INTERP, strings_at + interpreter_at, len(interpreter) + 1))
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head = ident + struct.pack("<2HI3QI6H", 3, machine, 1, 0, 64, 0, 0, 64, 56, segments, 64, 0, 0)
    table = b"".join(struct.pack("<2I6Q", kind, 4, at, at, at, length, length, 1) for kind, at, length in headers)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + table + strings + dynamic)
    return os.fsencode(path)


@pytest.fixture(autouse=True)
def no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loader know no directories of its own."""
    monkeypatch.setattr(libraries, "_LOADER_DIRECTORIES", ())


def search(tmp_path: Path, *directories: str) -> LibrarySearch:
    configuration = tmp_path / "ld.so.conf"
    configuration.write_text("".join(f"{tmp_path / each}\n" for each in directories))
    return LibrarySearch(str(configuration))


def test_libraries_of_libraries_are_found_each_once(tmp_path: Path) -> None:
    one = elf(tmp_path / "lib/libone.so", "libtwo.so", "libone.so")
    two = elf(tmp_path / "lib/libtwo.so", "libone.so")
    program = elf(tmp_path / "program", "libtwo.so", "libone.so", interpreter="/lib/ld.so")
    other = elf(tmp_path / "other", "libone.so", interpreter="relative/ld.so")
    looked = search(tmp_path, "lib")
    assert looked.needed([program, other]) == [b"/lib/ld.so", two, one]
    assert looked.notes == []
    assert looked.needed([]) == []


def test_what_is_no_elf_file_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "damaged").write_bytes(b"\x7fELF" + bytes(3))
    looked = search(tmp_path)
    assert looked.needed([os.fsencode(tmp_path / name) for name in ("script", "empty", "damaged", "damaged")]) == []
    (note,) = looked.notes
    assert note.startswith(f"{tmp_path}/damaged: its libraries are unknown: the ELF file is damaged (")


def test_what_is_nowhere_is_noted(tmp_path: Path) -> None:
    program = elf(tmp_path / "b", "libz.so", "liby.so")
    library = elf(tmp_path / "lib/liby.so", "libz.so")
    looked = search(tmp_path, "lib")
    assert looked.needed([program, elf(tmp_path / "a", "libz.so")]) == [library]
    assert looked.notes == [
        f"{tmp_path}/{name} needs libz.so, which is nowhere that the loader looks" for name in ("a", "b", "lib/liby.so")
    ]


def test_a_library_of_another_machine_is_passed_over(tmp_path: Path) -> None:
    elf(tmp_path / "first/lib.so", machine=AARCH64)
    (tmp_path / "second/lib.so").mkdir(parents=True)
    (tmp_path / "third").mkdir()
    (tmp_path / "third/lib.so").write_text("no library")
    fourth = elf(tmp_path / "fourth/lib.so")
    looked = search(tmp_path, "first", "second", "third", "fourth")
    assert looked.needed([elf(tmp_path / "program", "lib.so")]) == [fourth]


def test_the_order_is_rpath_runpath_configuration(tmp_path: Path) -> None:
    found = {name: elf(tmp_path / name / "lib.so") for name in ("old", "new", "configured")}
    looked = search(tmp_path, "configured")
    old, new = f"{tmp_path}/old", f"{tmp_path}/new"
    assert looked.needed([elf(tmp_path / "a", "lib.so", rpath=f"/none:{old}:{new}")]) == [found["old"]]
    assert looked.needed([elf(tmp_path / "b", "lib.so", runpath=new)]) == [found["new"]]
    # A file that has both uses the newer one.
    assert looked.needed([elf(tmp_path / "c", "lib.so", rpath=old, runpath=new)]) == [found["new"]]
    assert looked.needed([elf(tmp_path / "d", "lib.so", rpath="/none", runpath="/none")]) == [found["configured"]]


def test_an_rpath_counts_for_what_is_needed_indirectly_and_a_runpath_does_not(tmp_path: Path) -> None:
    first = elf(tmp_path / "first/libfirst.so", "libsecond.so")
    second = elf(tmp_path / "second/libsecond.so")
    paths = f"{tmp_path}/first:{tmp_path}/second"
    assert search(tmp_path).needed([elf(tmp_path / "old", "libfirst.so", rpath=paths)]) == [first, second]
    looked = search(tmp_path)
    assert looked.needed([elf(tmp_path / "new", "libfirst.so", runpath=paths)]) == [first]
    assert looked.notes == [f"{tmp_path}/first/libfirst.so needs libsecond.so, which is nowhere that the loader looks"]


def test_names_with_a_slash_are_paths(tmp_path: Path) -> None:
    library = elf(tmp_path / "lib/lib.so")
    program = elf(tmp_path / "program", str(tmp_path / "lib/lib.so"), "lib/lib.so")
    looked = search(tmp_path, ".")
    assert looked.needed([program]) == [library]
    assert looked.notes == [f"{program.decode()} needs lib/lib.so, which is nowhere that the loader looks"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$ORIGIN/../lib", True),
        ("${ORIGIN}/../lib", True),
        ("$ORIGIN/../$LIB:$ORIGIN/../lib", True),
        ("$ORIGIN/../lib/$PLATFORM", False),
        ("../lib", False),
        ("", False),
    ],
)
def test_paths_beside_the_file_itself(tmp_path: Path, path: str, found: bool) -> None:
    library = elf(tmp_path / "lib/lib.so")
    (tmp_path / "link").symlink_to("bin/program")
    elf(tmp_path / "bin/program", "lib.so", runpath=path)
    for program in ("bin/program", "link"):  # where the file lies, not the link
        assert search(tmp_path).needed([os.fsencode(tmp_path / program)]) == ([library] if found else [])


def test_the_configuration_and_what_it_includes(tmp_path: Path) -> None:
    directories = ("a", "b", "c", "d", "e")
    found = [elf(tmp_path / each / f"lib{each}.so") for each in directories]
    lines = {
        "main.conf": f"# {tmp_path}/x\n\n{tmp_path}/a # first\ninclude sub/*.conf {tmp_path}/none.conf\nhwcap 0 x\n",
        "sub/2.conf": f"{tmp_path}/c=libc6\ninclude {tmp_path}/last.conf\n",
        "sub/1.conf": f"  {tmp_path}/b\n",
        "last.conf": f"{tmp_path}/d\ninclude last.conf\n{tmp_path}/e\n",
    }
    (tmp_path / "sub").mkdir()
    for name, text in lines.items():
        (tmp_path / name).write_text(text)
    looked = LibrarySearch(str(tmp_path / "main.conf"))
    program = elf(tmp_path / "program", *(f"lib{each}.so" for each in directories))
    assert looked.needed([program]) == found
    order = list(dict.fromkeys(looked._directories))
    assert order == [f"{tmp_path}/{each}" for each in directories]
    assert len(looked._directories) == 3 + 2 * (libraries._MAX_INCLUDES - 1)  # a file that includes itself ends
    assert LibrarySearch(str(tmp_path / "nowhere")).needed([program]) == []
