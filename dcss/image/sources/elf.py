"""Read what an ELF file asks of the dynamic loader, and what it is called there; for any processor."""

import posixpath
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

_MAGIC: Final = b"\x7fELF"


class ElfDamagedError(Exception):
    """Raised for a file that begins as an ELF file does and makes no sense further on."""


class ElfKind(NamedTuple):
    """What two ELF files must have in common to run in one process; `machine` is an EM_ name."""

    bits: int
    little_endian: bool
    machine: str


class Dynamic(NamedTuple):
    """What a dynamically linked file asks of the loader; `linked` is False without a dynamic section."""

    kind: ElfKind
    interpreter: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    soname: str | None
    shared_object: bool
    linked: bool


def read_dynamic(file: BinaryIO, origin: str) -> Dynamic | None:
    """Return what the file asks of the loader, or None where it is no ELF file; `origin` is its directory.

    Raises ElfDamagedError.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        return None
    try:
        return _read(ELFFile(file), origin)
    except (ELFError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise ElfDamagedError(str(error)) from error


def _read(elf: ELFFile, origin: str) -> Dynamic:
    kind = ElfKind(elf.elfclass, elf.little_endian, elf["e_machine"])
    interpreter: str | None = None
    soname: str | None = None
    needed: list[str] = []
    rpath: list[str] = []
    runpath: list[str] = []
    linked = False
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            linked = True
            tag: Any  # pyelftools names the text after the tag
            for tag in segment.iter_tags():
                match tag.entry.d_tag:
                    case "DT_NEEDED":
                        needed.append(tag.needed)
                    case "DT_RPATH":
                        rpath += _expanded(tag.rpath, origin)
                    case "DT_RUNPATH":
                        runpath += _expanded(tag.runpath, origin)
                    case "DT_SONAME":
                        soname = tag.soname
    shared_object = elf["e_type"] == "ET_DYN"
    return Dynamic(kind, interpreter, tuple(needed), tuple(rpath), tuple(runpath), soname, shared_object, linked)


def _expanded(path: str, origin: str) -> Iterator[str]:
    """Yield the directories of an RPATH. Those with $LIB or $PLATFORM depend on the processor and are left out."""
    for directory in path.split(":"):
        expanded = directory.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
        if posixpath.isabs(expanded) and "$" not in expanded:
            yield posixpath.normpath(expanded)
