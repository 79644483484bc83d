"""A segment of all that the emulator itself reads and computes: none of it in its memory passes for a guest's copy."""

import os
import shutil
import sysconfig
from array import array
from pathlib import Path

from cli_support import GUEST, SOURCE, Dcss
from needs_support import needs

from dcss.account.maps import read_maps

_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
_PACKAGES = ("asyncio", "collections", "ctypes", "encodings", "importlib", "json", "lib-dynload", "re")


def _files() -> set[Path]:
    """Return the emulator's source and bytecode, the interpreter's, and every program and library that it maps."""
    roots = [Path(SOURCE, "dcss"), Path(SOURCE, "vmguest"), *(_STANDARD_LIBRARY / package for package in _PACKAGES)]
    found = {path for root in roots for path in root.rglob("*")}
    found.update(_STANDARD_LIBRARY.glob("*.py"), _STANDARD_LIBRARY.glob("__pycache__/*.pyc"))
    found.update(Path(vma.path.decode()) for vma in read_maps(os.getpid()) if vma.path.startswith(b"/"))
    return {path.resolve() for path in found if path.is_file()}


def _number_tables(directory: Path) -> None:
    """Write numbers in a row as fonts, character sets and collations have them, of each size and byte order."""
    directory.mkdir(parents=True)
    for code in "HIQ":
        numbers = array(code, range(1 << 16))
        (directory / f"little{numbers.itemsize}").write_bytes(numbers.tobytes())
        numbers.byteswap()
        (directory / f"big{numbers.itemsize}").write_bytes(numbers.tobytes())


def _claims(dcss: Dcss, files: set[Path], options: str) -> dict[str, tuple[bool | None, str]]:
    """Run two guests with a segment of `files` and tables of numbers; return claims and details."""
    tree = dcss.home / "tree"
    for path in files:
        copy = tree / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    _number_tables(tree / "usr/share/numbers")
    # A file of more than twelve blocks has a block map, and what a guest follows it by must not pass for a copy.
    guests = f"name: G, count: 2, {GUEST.replace('ro, xip', options)}, run: [{{map: /usr/share/numbers/little2}}]"
    ran = dcss.json("run", dcss.config(guests), status=None)
    return {claim["claim"]: (claim["holds"], claim["detail"]) for claim in ran["verify"]["claims"]}


@needs("frames")
def test_what_the_emulator_reads_and_computes_is_no_copy(dcss: Dcss) -> None:
    holds, detail = _claims(dcss, _files(), "ro, xip")["no-hidden-copies"]
    assert holds, detail


@needs("frames")
def test_the_same_content_in_a_guests_page_cache_is_a_copy(dcss: Dcss) -> None:
    holds, detail = _claims(dcss, set(), "ro")["no-hidden-copies"]
    assert holds is False
    assert "fork server" not in detail
    for guest in ("G01", "G02"):
        assert f"guest {guest} (kernel): 32 pages of LIB:/usr/share/numbers/little2 in private memory" in detail
