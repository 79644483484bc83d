"""The frame that a signal handler runs on, as Linux for s390x lays it out (arch/s390/kernel/signal.c, rt_sigframe)."""

import struct
from typing import NamedTuple

from vmguest.s390x.cpu import PSW_MASK, Registers

# Save area of the calling convention, the instruction to return by, siginfo, ucontext; in all:
FRAME_BYTES = 1320
_RETURN_AT, INFO_AT, CONTEXT_AT = 160, 168, 296
LEAVE_HANDLER = b"\x0a\xad"  # SVC 173, rt_sigreturn
CONTEXT_BYTES = FRAME_BYTES - CONTEXT_AT
_VECTOR_STATE = 2  # uc_flags: UC_VXRS
_HEAD = struct.Struct(">QQQiiQ")  # flags, link, alternate stack: address, flags, pad, size
_MACHINE = struct.Struct(">2Q16Q16III16Q")  # PSW, general, access, FPC and pad, floating point
_MACHINE_AT, _MASK_AT, _RIGHT_AT, _UPPER_AT = 40, 384, 512, 640
_MASK_BYTES = 128


class AlternateStack(NamedTuple):
    """A stack for signal handlers (stack_t): user address, flags, size in bytes."""

    address: int = 0
    flags: int = 2  # SS_DISABLE
    size_bytes: int = 0

    def holds(self, pointer: int) -> bool:
        """Return whether a stack pointer is on it."""
        return self.address < pointer <= self.address + self.size_bytes


def frame_address(pointer: int) -> int:
    """Return where the frame lies below a stack pointer."""
    return (pointer - FRAME_BYTES) & -8


def pack_frame(state: Registers, info: bytes, blocked: int, stack: AlternateStack) -> bytes:
    """Return the frame for an interrupted program."""
    head = _HEAD.pack(_VECTOR_STATE, 0, stack.address, stack.flags, 0, stack.size_bytes)
    machine = _MACHINE.pack(
        state.psw_mask, state.address, *state.general, *state.access, state.fpc, 0, *state.left[:16]
    )
    upper = [half for pair in zip(state.left[16:], state.right[16:], strict=True) for half in pair]
    context = b"".join(
        (
            head,
            machine,
            struct.pack(">Q", blocked).ljust(_MASK_BYTES, b"\0"),
            struct.pack(">16Q", *state.right[:16]),
            struct.pack(">32Q", *upper),
        )
    ).ljust(CONTEXT_BYTES, b"\0")
    save_area = struct.pack(">Q", state.general[15]).ljust(_RETURN_AT, b"\0")
    return save_area + LEAVE_HANDLER.ljust(INFO_AT - _RETURN_AT, b"\0") + info + context


def unpack_context(context: bytes) -> tuple[Registers, int, AlternateStack]:
    """Return the state to go on with, the blocked signals and the alternate stack, of a ucontext."""
    _, _, address, flags, _, size_bytes = _HEAD.unpack_from(context)
    mask, psw, *rest = _MACHINE.unpack_from(context, _MACHINE_AT)
    (blocked,) = struct.unpack_from(">Q", context, _MASK_AT)
    right = struct.unpack_from(">16Q", context, _RIGHT_AT)
    upper = struct.unpack_from(">32Q", context, _UPPER_AT)
    state = Registers(
        PSW_MASK | mask,
        psw,
        tuple(rest[:16]),
        tuple(rest[16:32]),
        rest[32],
        (*rest[34:50], *upper[0::2]),
        (*right, *upper[1::2]),
    )
    return state, blocked, AlternateStack(address, flags, size_bytes)
