"""Tiny s390x programs, assembled by hand: no compiler and no library is needed to run one."""

import struct
from pathlib import Path

_BASE = 0x1000000
_WRITE, _READ, _EXIT, _PAUSE = 4, 3, 1, 29
_CODE_AT = 0x78  # behind the ELF header and one program header


def _call(number: int) -> bytes:
    return bytes((0x0A, number))  # SVC


def _load(register: int, value: int) -> bytes:
    return struct.pack(">BBh", 0xA7, register << 4 | 9, value)  # LGHI


def _address(register: int, distance_bytes: int) -> bytes:
    return struct.pack(">BBi", 0xC0, register << 4, distance_bytes // 2)  # LARL


_EXIT_0 = _load(2, 0) + _call(_EXIT)


def hello(text: bytes = b"hello\n", status: int = 0) -> bytes:
    """Return a program that writes a text and ends."""
    end = _load(2, status) + _call(_EXIT)
    write = _load(2, 1) + b"?" * 6 + _load(4, len(text)) + _call(_WRITE)
    code = write + end
    code += bytes(len(code) % 2)
    code = code.replace(b"?" * 6, _address(3, len(code) - 4))
    return elf(code + text)


def cat() -> bytes:
    """Return a program that writes what it reads, 256 bytes at a time, on its stack."""
    make_room = struct.pack(">BBh", 0xA7, 0xFB, -4096)  # AGHI R15
    read = _load(2, 0) + bytes.fromhex("b904003f") + _load(4, 256) + _call(_READ)  # LGR R3,R15
    test = bytes.fromhex("b9020022")  # LTGR R2,R2
    write = bytes.fromhex("b9040042") + _load(2, 1) + _call(_WRITE)  # LGR R4,R2
    leave = struct.pack(">BBh", 0xA7, 0xC4, (4 + len(write) + 4) // 2)  # JLE
    again = struct.pack(">BBh", 0xA7, 0xF4, -(len(read) + 4 + 4 + len(write)) // 2)  # J
    return elf(make_room + read + test + leave + write + again + _EXIT_0)


def loop() -> bytes:
    """Return a program that never ends and makes no system call."""
    return elf(bytes.fromhex("a7f40000"))


def pause() -> bytes:
    """Return a program that waits for a signal."""
    return elf(_call(_PAUSE) + _EXIT_0)


def store_into_itself() -> bytes:
    """Return a program that writes to its own code, which is the segment's."""
    return elf(_address(3, 0) + bytes.fromhex("e3203000" + "0024") + _EXIT_0)  # STG R2,0(R3)


def elf(code: bytes) -> bytes:
    """Return a static program (ET_EXEC) of one read-only segment."""
    size_bytes = _CODE_AT + len(code)
    header = struct.pack(
        ">16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x02\x01",
        *(2, 22, 1, _BASE + _CODE_AT, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    )
    segment = struct.pack(">IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size_bytes, size_bytes, 0x1000)
    return header + segment + code


PROGRAMS = {
    "hello": hello(),
    "fail": hello(b"failing\n", 3),
    "cat": cat(),
    "loop": loop(),
    "pause": pause(),
    "store": store_into_itself(),
}


def install(tree: Path) -> None:
    """Put the programs into /bin of a tree, beside the directories that a guest mounts on."""
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, content in PROGRAMS.items():
        path = tree / "bin" / name
        path.write_bytes(content)
        path.chmod(0o755)
