"""The libraries that `with_libraries:` finds, against ldd on programs of this machine."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from needs_support import needs

from dcss.config.sources import FilesSource
from dcss.image.sources.files import search_files
from dcss.image.sources.libraries import LibrarySearch

_PROGRAMS = (
    "/bin/ls",
    "/bin/sh",
    "/usr/bin/perl",
    "/usr/bin/python3",
    "/usr/bin/git",
    "/usr/bin/openssl",
    "/usr/bin/ssh",
)


def ldd(path: str) -> set[str]:
    """Return the libraries and the loader that ldd lists, by their paths without links."""
    listed = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    return {os.path.realpath(name) for name in re.findall(r"(?:=> |^\t)(/\S+) \(0x", listed, re.MULTILINE)}


@needs("ldd")
@pytest.mark.parametrize("program", [name for name in _PROGRAMS if Path(name).exists()])
def test_the_libraries_are_those_that_ldd_lists(program: str) -> None:
    search = LibrarySearch()
    found = {os.path.realpath(os.fsdecode(path)) for path in search.needed([os.fsencode(program)])}
    assert found == ldd(program)
    assert search.notes == []


@needs("ldd")
def test_libraries_come_with_the_links_that_lead_to_them() -> None:
    found = search_files(FilesSource(("/bin/ls",), with_libraries=True))
    reached = {os.fsdecode(path) for path in found.reached}
    assert reached == ldd("/bin/ls") | {os.path.realpath("/bin/ls")}
    loader = next(path for path in found.reached if b"/ld-" in path or b"/ld64" in path)
    assert any(resolved.links for resolved in found.reached[loader])


def _compile(tmp_path: Path, name: str, source: str, *options: str) -> Path:
    path = tmp_path / name
    subprocess.run(["gcc", "-x", "c", "-", "-o", path, *options], input=source, text=True, check=True)
    return path


@needs("gcc", "ldd")
def test_libraries_beside_a_program_and_missing_ones(tmp_path: Path) -> None:
    inner = _compile(
        tmp_path, "libinner.so", "int inner(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libinner.so"
    )
    near = f"-L{tmp_path}"
    outer_source = "int inner(void); int outer(void) { return inner(); }"
    _compile(tmp_path, "libouter.so", outer_source, "-shared", "-fPIC", "-Wl,-soname,libouter.so", near, "-linner")
    for name, option in (("rpath", "--disable-new-dtags"), ("runpath", "--enable-new-dtags")):
        linked = (near, "-louter", f"-Wl,{option},-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined")
        program = _compile(tmp_path, name, "int outer(void); int main(void) { return outer(); }", *linked)
        search = LibrarySearch()
        found = {os.fsdecode(path) for path in search.needed([os.fsencode(program)])}
        # A RUNPATH serves the file's own libraries only, a RPATH those that they need too.
        assert f"{tmp_path}/libouter.so" in found
        assert {os.path.realpath(path) for path in found} == ldd(str(program))
        assert (str(inner) in found) is (name == "rpath")
        missing = f"{tmp_path}/libouter.so needs libinner.so, which is nowhere that the loader looks"
        assert search.notes == ([] if name == "rpath" else [missing])


@needs("gcc", "ldd")
def test_a_library_for_another_machine_and_a_damaged_file(tmp_path: Path) -> None:
    program = _compile(tmp_path, "program", "int main(void) { return 0; }", f"-Wl,-rpath,{tmp_path}")
    other = bytearray(program.read_bytes())
    other[18] ^= 0xFF  # e_machine
    (tmp_path / "libc.so.6").write_bytes(other)
    (tmp_path / "short").write_bytes(b"\x7fELF")
    search = LibrarySearch()
    found = {os.fsdecode(path) for path in search.needed([os.fsencode(program), os.fsencode(tmp_path / "short")])}
    assert f"{tmp_path}/libc.so.6" not in found
    assert {os.path.realpath(path) for path in found} == ldd(str(program))
    (note,) = search.notes
    assert note.startswith(f"{tmp_path}/short: its libraries are unknown: the ELF file is damaged")
