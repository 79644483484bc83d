"""Debian's architectures as far as the dynamic loader's cache needs them."""

from typing import Final, NamedTuple

from dcss.image.sources.elf import ElfKind

_ELF_LIBC6: Final = 3  # of the C library of today, as opposed to those before 1997


class Architecture(NamedTuple):
    """One of Debian's architectures: its programs, the name of its library directories, and its kind for ldconfig.

    Source for the kinds: glibc 2.36, sysdeps/generic/ldconfig.h.
    """

    elf: ElfKind
    triplet: str
    cache_flags: int


ARCHITECTURES: Final = {
    "amd64": Architecture(ElfKind(64, True, "EM_X86_64"), "x86_64-linux-gnu", _ELF_LIBC6 | 0x0300),
    "arm64": Architecture(ElfKind(64, True, "EM_AARCH64"), "aarch64-linux-gnu", _ELF_LIBC6 | 0x0A00),
    "ppc64el": Architecture(ElfKind(64, True, "EM_PPC64"), "powerpc64le-linux-gnu", _ELF_LIBC6 | 0x0500),
    "s390x": Architecture(ElfKind(64, False, "EM_S390"), "s390x-linux-gnu", _ELF_LIBC6 | 0x0400),
}
CACHE_FLAGS: Final = {each.elf: each.cache_flags for each in ARCHITECTURES.values()}
