"""STSI 3.2.2, by which a guest finds out what it runs under: QEMU says KVM, and here it is z/VM.

Sources: Principles of Operation, "STORE SYSTEM INFORMATION"; struct sysinfo_3_2_2 of Linux, arch/s390/include/asm.
"""

from dcss.engines.linux.gdb_stub import GdbStub
from dcss.engines.linux.instructions import Site
from dcss.engines.linux.registers import GPR0

CONTROL_PROGRAM = "z/VM    7.3.0   "
_IDENTIFIER_OFFSET = 56  # of the first virtual machine's control program identifier
_FUNCTION_MASK, _SELECTOR_MASK = 0xF000_00FF, 0xFFFF  # what lies above may be anything
_VIRTUAL_MACHINE, _SELECTOR = 0x3000_0002, 2


def is_virtual_machine(function: int) -> bool:
    """Say whether register 0 asks for virtual machines, of whatever selector."""
    return function & _FUNCTION_MASK == _VIRTUAL_MACHINE


async def show_zvm(stub: GdbStub, site: Site) -> None:
    """Let QEMU execute the STSI at `site`, and put z/VM's name where it stored its own."""
    base, _ = site.operands
    block, function, selector = [await stub.register(GPR0 + number) for number in (base, 0, 1)]
    await stub.step()
    if is_virtual_machine(function) and selector & _SELECTOR_MASK == _SELECTOR:
        await stub.write(block + _IDENTIFIER_OFFSET, CONTROL_PROGRAM.encode("cp037"))
