"""The kernel and its modules, which are copied even from a file system that is executed in place (kernel/module.c).

A loaded file lies in the module area, addresses of the guest that hold nothing else, and takes frames of real storage
like any other memory of the kernel. The frames stay untouched: private memory can be mapped only once, so the bytes are
at the addresses of the module area alone.
"""

import os
from collections.abc import Iterator
from errno import EEXIST, ENOENT, ENOEXEC, ENOMEM
from typing import NamedTuple

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.frames import FrameMap
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.fs.open import open_dentry
from vmguest.machine import VirtualMachine
from vmguest.storage import PageRuns


class LoadedModule(NamedTuple):
    """A file that the kernel has copied: its bytes are at `address`."""

    name: str
    address: int
    size_bytes: int
    frames: FrameMap


class Modules:
    """What a guest's kernel has loaded, by name."""

    def __init__(self, machine: VirtualMachine) -> None:
        self._storage = machine.storage
        area = machine.reservation
        self._addresses = PageRuns(area.module_area >> PAGE_SHIFT, area.module_area_bytes >> PAGE_SHIFT)
        self._loaded: dict[str, LoadedModule] = {}

    def __iter__(self) -> Iterator[LoadedModule]:
        return iter(self._loaded.values())

    @property
    def pages(self) -> int:
        """Pages of real storage that all of it takes."""
        return sum(loaded.frames.pages for loaded in self._loaded.values())

    def load(self, vfs: Vfs, dentry: Dentry) -> LoadedModule:
        """Copy a file. Raises KernelError: EEXIST it is loaded, ENOEXEC it is empty, ENOMEM, what reading it gives."""
        name = module_name(dentry.name)
        if name in self._loaded:
            raise KernelError(EEXIST, f"module {name}: loaded already")
        size_bytes = dentry.inode.size_bytes
        if not size_bytes:
            raise KernelError(ENOEXEC, f"module {name}: {os.fsdecode(dentry.path)} is empty")
        pages = hostmem.pages(size_bytes)
        frames = FrameMap(self._storage)
        first_page = self._addresses.allocate(pages)
        if first_page is None:
            raise KernelError(ENOMEM, f"module {name}: the module area has no {pages} pages in one run")
        loaded = LoadedModule(name, first_page << PAGE_SHIFT, size_bytes, frames)
        try:
            if frames.fill(0, pages) < pages:
                raise self._storage.shortage(pages)
            self._copy(vfs, dentry, loaded)
        except BaseException:
            self._release(loaded)
            raise
        self._loaded[name] = loaded
        return loaded

    def unload(self, name: str) -> None:
        """Give a module's memory back. Raises KernelError(ENOENT)."""
        loaded = self._loaded.pop(name, None)
        if loaded is None:
            raise KernelError(ENOENT, f"module {name}: not loaded")
        self._release(loaded)

    def _copy(self, vfs: Vfs, dentry: Dentry, loaded: LoadedModule) -> None:
        hostmem.map_storage(loaded.address, hostmem.pages(loaded.size_bytes) * PAGE_SIZE)
        target = hostmem.view(loaded.address, loaded.size_bytes)
        with open_dentry(vfs, dentry) as opened:
            while target:
                count = opened.read(target)
                if not count:
                    raise KernelError(ENOEXEC, f"module {loaded.name}: its file became shorter while it was read")
                target = target[count:]

    def _release(self, loaded: LoadedModule) -> None:
        pages = hostmem.pages(loaded.size_bytes)
        hostmem.unmap(loaded.address, pages * PAGE_SIZE)
        self._addresses.release(loaded.address >> PAGE_SHIFT, pages)
        loaded.frames.truncate(0)


def module_name(file_name: bytes) -> str:
    """Return the name that the kernel gives a module from the name of its file: no ending, and _ for -."""
    return os.fsdecode(file_name).partition(".ko")[0].replace("-", "_")
