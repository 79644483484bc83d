"""The modules of a kernel: which needs which, and what they hold, unpacked.

Sources: modules.dep(5); the section .modinfo of a module, which names the modules that it depends on.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from dcss.errors import ImageError
from dcss.image.sources.compression import HEAD_BYTES, method_of, unpacking

_NAME = re.compile(r"(?P<name>[^/]+)\.ko(?:\.(?:xz|zst|gz))?")


def module_name(file_name: str) -> str | None:
    """Return a module's name, in which the kernel has underscores for hyphens; None for another file."""
    match = _NAME.fullmatch(file_name)
    return None if match is None else match["name"].replace("-", "_")


@dataclass(frozen=True, eq=False)
class Modules:
    """The modules below a directory. What the kernel has built in is not among them, and needs no loading."""

    directory: Path
    _unpacked: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """Each module's file by its name."""
        found: dict[str, Path] = {}
        for directory, _, names in os.walk(self.directory):
            for name in sorted(names):
                module = module_name(name)
                if module is not None:
                    found.setdefault(module, Path(directory, name))
        return found

    @cached_property
    def _listed(self) -> Mapping[str, tuple[str, ...]]:
        """What modules.dep says of each module's dependencies, all of them."""
        lists = sorted(self.directory.rglob("modules.dep"))
        found: dict[str, tuple[str, ...]] = {}
        for line in lists[0].read_text("utf-8").splitlines() if lists else ():
            file_name, _, needed = line.partition(":")
            name = module_name(Path(file_name).name)
            if name is not None:
                found[name] = tuple(filter(None, (module_name(Path(each).name) for each in needed.split())))
        return found

    def content(self, name: str) -> bytes:
        """Return what a module's file holds, unpacked. Raises ImageError."""
        if name not in self._unpacked:
            self._unpacked[name] = _unpacked(self.files[name])
        return self._unpacked[name]

    def in_order(self, wanted: Iterable[str]) -> list[str]:
        """Return those of `wanted` that there are, each after the modules that it needs. Raises ImageError."""
        order: list[str] = []
        for name in wanted:
            self._add(name, order, ())
        return order

    def _add(self, name: str, order: list[str], path: tuple[str, ...]) -> None:
        if name in order or name not in self.files:
            return
        if name in path:
            raise ImageError(f"modules {', '.join(path)}: each needs the next, and the last the first")
        for needed in self._needs(name):
            self._add(needed, order, (*path, name))
        order.append(name)

    def _needs(self, name: str) -> tuple[str, ...]:
        if name in self._listed:
            return self._listed[name][::-1]  # modules.dep has the one to load first last
        return depends(self.content(name), str(self.files[name]))


def _unpacked(path: Path) -> bytes:
    label = f"module {path}"
    try:
        with path.open("rb") as packed:
            method = method_of(packed.peek(HEAD_BYTES)[:HEAD_BYTES], label)
            if method is None:
                return packed.read()
            with unpacking(packed, method, label) as content:
                return content.read()
    except OSError as error:
        raise ImageError(f"{label}: cannot be read: {error.strerror}") from error


def depends(content: bytes, label: str) -> tuple[str, ...]:
    """Return the names of the modules that a module says it needs. Raises ImageError where it is no module."""
    try:
        section = ELFFile(io.BytesIO(content)).get_section_by_name(".modinfo")
    except ELFError as error:
        raise ImageError(f"module {label}: found no ELF file: {error}") from error
    if section is None:
        raise ImageError(f"module {label}: found no section .modinfo, wanted a kernel module")
    for entry in section.data().split(b"\0"):
        key, _, value = entry.partition(b"=")
        if key == b"depends":
            return tuple(name.replace("-", "_") for name in value.decode().split(",") if name)
    return ()
