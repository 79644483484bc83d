"""One static s390x program on Unicorn alone: no address translation, no guest, one hook for its system calls.

    python benchmarks/programs/bare_unicorn.py PROGRAM ARGUMENT...

It prints the seconds of CPU from the first instruction to exit_group. The other system calls that it has are write, to
nowhere, and mmap of new memory.
"""

import struct
import sys
import time
from pathlib import Path
from typing import Any

from unicorn import UC_ARCH_S390X, UC_HOOK_INTR, UC_MODE_BIG_ENDIAN, Uc
from unicorn import s390x_const as registers

STACK, STACK_BYTES = 0x7000_0000, 1 << 20
MAPPED = 0x4000_0000  # where the first new memory is put
PT_LOAD, EXIT_GROUP, WRITE, MMAP = 1, 248, 4, 90
SUPERVISOR_CALL = 2  # its number among Unicorn's interruptions
CR0 = 0x40000  # all floating-point registers may be used


def load(uc: Uc, path: Path) -> int:
    """Copy the segments of an ELF file to their addresses; return its entry."""
    data = path.read_bytes()
    (entry, offset), (count,) = struct.unpack_from(">QQ", data, 24), struct.unpack_from(">H", data, 56)
    for number in range(count):
        kind, _, start, address, _, file_bytes, memory_bytes, _ = struct.unpack_from(
            ">IIQQQQQQ", data, offset + 56 * number
        )
        if kind == PT_LOAD:
            first = address & -4096
            uc.mem_map(first, (address + memory_bytes - first + 4095) & -4096)
            uc.mem_write(address, data[start : start + file_bytes])
    return int(entry)


def main() -> None:
    """Run the program."""
    path, words = Path(sys.argv[1]), [word.encode() + b"\0" for word in sys.argv[1:]]
    uc = Uc(UC_ARCH_S390X, UC_MODE_BIG_ENDIAN)
    uc.reg_write(registers.UC_S390X_REG_PSWM, 0x0001_0001_8000_0000)  # problem state, 64-bit addresses
    uc.reg_write(registers.UC_S390X_REG_CR0, CR0)
    entry = load(uc, path)
    uc.mem_map(STACK, STACK_BYTES)
    place = STACK + STACK_BYTES - 4096
    pointers = []
    for word in words:
        uc.mem_write(place, word)
        pointers.append(place)
        place += len(word)
    vector = struct.pack(f">Q{len(pointers)}Q4Q", len(pointers), *pointers, 0, 0, 0, 0)
    pointer = STACK + STACK_BYTES - 8192
    uc.mem_write(pointer, vector)
    uc.reg_write(registers.UC_S390X_REG_R15, pointer)

    free = MAPPED

    def call(uc: Uc, interruption: int, _data: Any) -> None:
        nonlocal free
        address = uc.reg_read(registers.UC_S390X_REG_PC)
        if interruption != SUPERVISOR_CALL:
            raise SystemExit(f"{path}: a program check at {address:#x}, which no program of a benchmark has")
        number = uc.mem_read(address + 1, 1)[0] or uc.reg_read(registers.UC_S390X_REG_R1)
        if number == EXIT_GROUP:
            uc.emu_stop()
            return
        result = uc.reg_read(registers.UC_S390X_REG_R4) if number == WRITE else 0
        if number == MMAP:
            (length,) = struct.unpack(">Q", uc.mem_read(uc.reg_read(registers.UC_S390X_REG_R2) + 8, 8))
            result, free = free, free + (length + 4095 & -4096)
            uc.mem_map(result, free - result)
        uc.reg_write(registers.UC_S390X_REG_R2, result)
        uc.reg_write(registers.UC_S390X_REG_PC, address + 2)

    uc.hook_add(UC_HOOK_INTR, call)
    began = time.process_time()
    uc.emu_start(entry, 1)
    print(time.process_time() - began)


if __name__ == "__main__":
    main()
