"""Stop Unicorn from another thread without spoiling a program's state.

By default translated code asks for a stop after each load and store too, in the middle of an instruction, which then
runs a second time. `uc_struct.no_exit_request` restricts that to the start of a block. It is a private field: it is
found by its neighbours and proved by `vmguest.s390x.self_test`. Where that fails, a hook at the start of each block
asks in its place, which the library documents, and which costs most of the speed.
"""

import ctypes
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unicorn import UC_HOOK_BLOCK, Uc
from unicorn import s390x_const as registers
from unicorn.unicorn_const import UC_CTL_IO_WRITE, UC_CTL_TB_FLUSH

_SEARCHED_BYTES = 4096  # of uc_struct, for no_exit_request
_COMPARED_BYTES = 16384  # of uc_struct, for skip_sync_pc_on_exit
_CONTEXT_CONTENT_CPU = 1  # uc_struct.context_content
_SAVED_CPU_SLACK_BYTES = 64  # a context is its header and the saved CPU


class ExactStops:
    """Which way stops of one Unicorn object are exact. `context_size` is the size of a saved context in bytes."""

    def __init__(self, uc: Uc, context_size: int) -> None:
        self._uc = uc
        self._handle = _address(uc)
        self._requesting = threading.Lock()  # no stop comes after the run that it was for
        self._hooked = self._taken = False
        self._stop_wanted = False
        self._flag = self._find_flag(context_size)
        self._skip_sync = self._find_skip_sync()
        if self._flag is not None:
            self._flag.value = 1

    def use_hook(self) -> None:
        """Have a hook at the start of each block ask for stops: slower, and public."""
        self._hooked = True
        self._uc.hook_add(UC_HOOK_BLOCK, self._at_block)

    def request(self) -> None:
        """Ask for a stop, from another thread. It is for a run that takes requests, and for no other."""
        with self._requesting:
            if not self._taken:
                return
            if self._hooked or self._flag is None:
                self._stop_wanted = True
            else:
                self._uc.emu_stop()

    @contextmanager
    def on_request(self) -> Iterator[None]:
        """Have a run take requests."""
        self._taken = True
        try:
            yield
        finally:
            with self._requesting:
                self._taken = self._stop_wanted = False

    @contextmanager
    def anywhere(self) -> Iterator[None]:
        """Have a run end behind any instruction: it counts them, and takes no request that could end it before one."""
        if self._flag is not None:
            self._flag.value = 0
        self._uc.ctl(UC_CTL_TB_FLUSH, UC_CTL_IO_WRITE)
        try:
            yield
        finally:
            if self._flag is not None:
                self._flag.value = 1
            self._uc.ctl(UC_CTL_TB_FLUSH, UC_CTL_IO_WRITE)

    def after_hook(self) -> None:
        """Undo what writing the instruction's address in a hook did: the next stop would have a stale one."""
        if self._skip_sync is not None:
            self._skip_sync.value = 0

    def _at_block(self, uc: Uc, _address: int, _size: int, _data: Any) -> None:
        if self._stop_wanted:
            self._stop_wanted = False
            uc.emu_stop()

    def _find_flag(self, context_size: int) -> ctypes.c_ubyte | None:
        """Find {int content, int saved CPU size, [pad], u64 next_pc, bool, bool, bool no_exit_request, bool}."""
        raw = ctypes.string_at(self._handle, _SEARCHED_BYTES)
        for offset in range(0, _SEARCHED_BYTES - 32, 4):
            content, size = struct.unpack_from("=II", raw, offset)
            flags = -(-(offset + 8) // 8) * 8 + 8
            if (
                content == _CONTEXT_CONTENT_CPU
                and context_size - _SAVED_CPU_SLACK_BYTES <= size < context_size
                and raw[flags + 2 : flags + 4] == b"\0\1"
            ):
                return ctypes.c_ubyte.from_address(self._handle + flags + 2)
        return None

    def _find_skip_sync(self) -> ctypes.c_ubyte | None:
        """Find the last byte that a write of the instruction's address changes."""
        self._uc.reg_write(registers.UC_S390X_REG_PC, 0)
        self._uc.emu_start(1, 1)
        before = ctypes.string_at(self._handle, _COMPARED_BYTES)
        self._uc.reg_write(registers.UC_S390X_REG_PC, 0)
        after = ctypes.string_at(self._handle, _COMPARED_BYTES)
        changed = [index for index in range(_COMPARED_BYTES) if not before[index] and after[index] == 1]
        return ctypes.c_ubyte.from_address(self._handle + changed[-1]) if changed else None


def _address(uc: Uc) -> int:
    """Return where the library's structure of an object lies."""
    handle = uc._uch
    assert handle is not None and handle.value is not None
    return handle.value
