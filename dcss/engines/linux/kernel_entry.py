"""Let a kernel boot until it is decompressed, relocated and mapped, and find there its calls of CP.

No symbols are needed and no address is known before. The program-check new PSW in the lowcore is written by the
decompressor, and by the kernel proper in its first C function, before it asks what machine it runs on. It is the kernel
proper if the code at the PSW's address is not the loaded image's.
"""

from collections.abc import Mapping
from typing import NamedTuple

from dcss.engines.linux.function_codes import needed_sites
from dcss.engines.linux.gdb_stub import GdbStub
from dcss.engines.linux.instructions import Call, Site, find_sites
from dcss.engines.linux.monitor import Monitor
from dcss.engines.linux.real_storage import RealStorage
from dcss.engines.linux.registers import PSW_ADDRESS
from dcss.engines.linux.stsi import show_zvm
from dcss.errors import LaunchError

_PROGRAM_NEW_PSW, _PSW_BYTES = 0x1D0, 16  # of struct lowcore, arch/s390/include/asm/lowcore.h
_CODE_BYTES = 64
_SITE_BYTES = 32
_BEFORE_BYTES, _AFTER_BYTES = 40 << 20, 4 << 20  # the kernel's text around its first C function


class EnteredKernel(NamedTuple):
    """A kernel in its first C function: where that is, virtual and real, and its calls by virtual address."""

    virtual: int
    real: int
    sites: Mapping[int, Site]


async def enter_kernel(
    stub: GdbStub, monitor: Monitor, storage: RealStorage, image_bytes: int, own_bytes: int
) -> EnteredKernel:
    """Run a machine that has not begun until its kernel proper is there. Raises MachineEndedError, LaunchError."""
    image = storage.read(0, image_bytes)
    early = {site.address: site for site in find_sites(image, 0, Call.STSI)}  # newer decompressors have one
    await stub.set_breakpoints(early)
    await stub.watch_writes(_PROGRAM_NEW_PSW, _PSW_BYTES)
    while True:
        stop = await stub.resume()
        address = await stub.register(PSW_ADDRESS)
        if not stop.watched and address in early:
            await show_zvm(stub, early[address])
        elif await stub.read(address, _CODE_BYTES) != image[address : address + _CODE_BYTES]:
            break
    await stub.unwatch_writes(_PROGRAM_NEW_PSW, _PSW_BYTES)
    await stub.remove_breakpoints(early)
    real = await monitor.real_address(address)
    start = max(0, real - _BEFORE_BYTES)
    text = storage.read(start, min(real + _AFTER_BYTES, own_bytes) - start)
    sites = {}
    for site in needed_sites(text, start, find_sites(text, start)):
        around = slice(site.address, site.address + _SITE_BYTES)
        if text[around.start - start : around.stop - start] != image[around]:  # not what the decompressor left
            virtual = site.address + address - real
            sites[virtual] = site._replace(address=virtual)
    if not any(site.call is Call.DIAGNOSE_64 for site in sites.values()):
        raise LaunchError(f"kernel: found no DIAG X'64' around {address:#x}; was it built with CONFIG_DCSSBLK?")
    await stub.set_breakpoints(sites)
    return EnteredKernel(address, real, sites)
