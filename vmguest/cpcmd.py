"""CP commands from the guest by DIAGNOSE X'08', as arch/s390/kernel/cpcmd.c issues them."""

from typing import NamedTuple

from dcss.abi.diag08 import MAX_COMMAND_BYTES, RESPONSE_IN_BUFFER
from dcss.abi.page import PAGE_SIZE
from vmguest import hostmem
from vmguest.machine import VirtualMachine


class CpResponse(NamedTuple):
    """CP's return code and what it said; `missing_bytes` found no room in the buffer."""

    return_code: int
    text: str
    missing_bytes: int = 0


def cpcmd(machine: VirtualMachine, command: str, response_bytes: int = 0) -> CpResponse:
    """Have CP execute a command, with a response buffer of up to 8192 bytes or none; lines end with a newline."""
    encoded = command.encode("cp037")[:MAX_COMMAND_BYTES]
    pages = 1 + hostmem.pages(response_bytes)
    frame = machine.storage.allocate(pages)
    try:
        address = frame * PAGE_SIZE
        machine.storage.view(address, len(encoded))[:] = encoded
        if not response_bytes:
            return CpResponse(machine.diagnose_08(address, len(encoded)).ry, "")
        buffer = address + PAGE_SIZE
        result = machine.diagnose_08(address, len(encoded) | RESPONSE_IN_BUFFER, buffer, response_bytes)
        cut = result.condition_code == 1
        stored = bytes(machine.storage.view(buffer, response_bytes if cut else result.rx))
        text = stored.decode("cp037").replace("\x85", "\n")
        return CpResponse(result.ry, text, result.rx if cut else 0)
    finally:
        machine.storage.release(frame, pages)
