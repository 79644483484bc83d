"""Shared objects of a few hundred bytes, with a name or without, for any processor; ldconfig takes them too."""

import struct

from dcss.image.sources.elf import ElfKind

S390X = ElfKind(64, False, "EM_S390")
AMD64 = ElfKind(64, True, "EM_X86_64")
MIPS = ElfKind(32, False, "EM_MIPS")
_MACHINES = {"EM_S390": 22, "EM_X86_64": 62, "EM_MIPS": 8}
_SHARED_OBJECT = 3


def shared_object(soname: str | None, kind: ElfKind, elf_type: int = _SHARED_OBJECT) -> bytes:
    """Return a shared object of that name; everything of it is loaded at address 0."""
    mark, word = "<" if kind.little_endian else ">", "Q" if kind.bits == 64 else "I"
    strings = b"\0" + (b"" if soname is None else soname.encode() + b"\0")
    header = struct.Struct(f"{mark}16sHHI{word}{word}{word}I6H")
    program = struct.Struct(f"{mark}II{word * 6}" if kind.bits == 64 else f"{mark}I{word * 5}II")
    tag = struct.Struct(mark + word * 2)
    dynamic_at = header.size + 2 * program.size
    strings_at = dynamic_at + 4 * tag.size
    size_bytes = strings_at + len(strings)
    ident = bytes((0x7F, *b"ELF", 2 if kind.bits == 64 else 1, 1 if kind.little_endian else 2, 1))
    head = header.pack(
        ident, elf_type, _MACHINES[kind.machine], 1, 0, header.size, 0, 0, header.size, program.size, 2, 0, 0, 0
    )

    def segment(segment_type: int, at: int, length_bytes: int) -> bytes:
        if kind.bits == 64:
            return program.pack(segment_type, 4, at, at, at, length_bytes, length_bytes, 8)
        return program.pack(segment_type, at, at, at, length_bytes, length_bytes, 4, 4)

    # DT_STRTAB, DT_STRSZ, DT_SONAME or again DT_STRSZ, DT_NULL
    tags = ((5, strings_at), (10, len(strings)), (14, 1) if soname is not None else (10, len(strings)), (0, 0))
    segments = segment(1, 0, size_bytes) + segment(2, dynamic_at, 4 * tag.size)
    return head + segments + b"".join(tag.pack(*each) for each in tags) + strings
