"""One s390x CPU that runs programs: Unicorn, in problem state, with s390's own address translation.

Unicorn's memory is the guest's absolute storage, given to it once. A program's address space is a set of s390 page
tables in real storage (vmguest.s390x.dat), which control register 1 designates; the state of each program that does not
run is a saved context. Translated code is kept by absolute address, so all programs share it.
"""

import ctypes
import struct
from collections.abc import Callable
from errno import ENOSYS
from typing import Any, NamedTuple

from unicorn import UC_ARCH_S390X, UC_HOOK_INTR, UC_MODE_BIG_ENDIAN, UC_PROT_ALL, Uc, UcError
from unicorn import s390x_const as registers
from unicorn.unicorn_const import UC_CTL_IO_WRITE, UC_CTL_TB_FLUSH, UC_CTL_TLB_FLUSH
from unicorn.unicorn_py3.unicorn import UcContext, uclib

from dcss.errors import KernelError
from vmguest.s390x.exact_stops import ExactStops

PSW_MASK = 0x0705_0001_8000_0000  # translation on, problem state, 64-bit addresses: as Linux runs programs
PSW_OWN = 0x3F << 40  # the bits of the mask that a program may set by itself: condition code and program mask
_PSW_TRANSLATION = 1 << 58
_CONDITION_SHIFT = 44  # of the condition code in the mask
_FPC_ROUNDING = 7
_FPC_INVALID = 0x0303_0088  # bits that are no part of the register (its layout, with floating-point extension)
_NO_ROUNDING = frozenset({4, 5, 6})
_CR0 = 0x160000  # pages can be protected from execution; additional floating-point and vector registers may be used
SUPERVISOR_CALL, _PROGRAM_CHECK = 2, 3  # numbers of Unicorn's interruptions
OPERATION, DATA, FIXED_POINT_DIVIDE = 0x01, 0x07, 0x09  # program interruption codes
TRANSLATIONS = frozenset({0x04, 0x10, 0x11, 0x38, 0x39, 0x3A, 0x3B})  # those with a failing address: protection, …
_TRANSLATION_EXCEPTION_ID = 0xA8  # absolute address of that, as the architecture has it
_FAILING_PAGE, _ACCESS_KIND, _STORE, _FETCH = ~0xFFF, 0xC00, 0x400, 0x800
_PAGE_BYTES = 4096
_FETCHED_BYTES = 2  # the length that Unicorn gives for an instruction that it could not fetch
_LOAD_FPC_AT = 0x400  # absolute address, in the part of the lowest pages that the architecture leaves to the kernel
_LOAD_FPC = bytes.fromhex("b3840000 0a00")  # sfpc %r0; svc 0
_NOWHERE = 1  # no instruction lies at an odd address: the CPU runs until it is stopped
_FLUSH_ADDRESSES = UC_CTL_TLB_FLUSH | UC_CTL_IO_WRITE << 30  # as UC_CTL in <unicorn/unicorn.h>: what, and how
_MASK = (1 << 64) - 1
_STACK_POINTER = 15

_GENERAL = tuple(registers.UC_S390X_REG_R0 + number for number in range(16))
_ACCESS = tuple(registers.UC_S390X_REG_A0 + number for number in range(16))
# Unicorn calls the left halves of V0 to V31 F0 to F31, and the right halves F0_HI to F31_HI.
_LEFT = tuple(registers.UC_S390X_REG_F0 + number for number in range(32))
_RIGHT = tuple(registers.UC_S390X_REG_F0_HI + number for number in range(32))
_PC, _PSWM, _FPC = registers.UC_S390X_REG_PC, registers.UC_S390X_REG_PSWM, registers.UC_S390X_REG_FPC
_CR0_ID, _CR1_ID = registers.UC_S390X_REG_CR0, registers.UC_S390X_REG_CR1


class Registers(NamedTuple):
    """What a signal frame holds of a program's state."""

    psw_mask: int
    address: int
    general: tuple[int, ...]
    access: tuple[int, ...]
    fpc: int
    left: tuple[int, ...]  # of the vector registers; the first 16 are the floating-point registers
    right: tuple[int, ...]


class FailingAccess(NamedTuple):
    """What a translation or protection exception was about: the page's address, and the kind of the access."""

    address: int
    store: bool
    fetch: bool


class CpuError(KernelError):
    """The emulator cannot go on with a program, or does not work on this machine."""

    def __init__(self, message: str) -> None:
        super().__init__(ENOSYS, message)

    def __reduce__(self) -> tuple[type, tuple[str | None]]:
        return type(self), (self.strerror,)


class _Batch:
    """Registers that are read or written together by one call of the library.

    Those of 32 bits take the low half of their place.
    """

    def __init__(self, ids: tuple[int, ...]) -> None:
        self.count = len(ids)
        self.ids = (ctypes.c_int * self.count)(*ids)
        self.values = (ctypes.c_uint64 * self.count)()
        start = ctypes.addressof(self.values)
        self.pointers = (ctypes.c_void_p * self.count)(*(start + 8 * index for index in range(self.count)))

    def read(self, handle: ctypes.c_void_p | None) -> list[int]:
        """Return the registers of an object of the library."""
        uclib.uc_reg_read_batch(handle, self.ids, self.pointers, self.count)
        return self.values[:]

    def write(self, handle: ctypes.c_void_p | None, values: list[ctypes.c_uint64 | int]) -> None:
        """Set them."""
        self.values[:] = values
        uclib.uc_reg_write_batch(handle, self.ids, self.pointers, self.count)


class Cpu:
    """Runs one program at a time. `window` is the host address of absolute address 0.

    `on_call` is called for each supervisor call, `on_check` for each program check, with its interruption code; both
    return whether the program goes on.
    """

    def __init__(self, window: int, absolute_bytes: int) -> None:
        self.on_call: Callable[[], bool] = lambda: False
        self.on_check: Callable[[int], bool] = lambda _: False
        self._uc = Uc(UC_ARCH_S390X, UC_MODE_BIG_ENDIAN)
        self._uc.ctl_set_cpu_model(registers.UC_CPU_S390X_MAX)  # the one that has execution protection
        self._uc.mem_map_ptr(0, absolute_bytes, UC_PROT_ALL, window)
        self._uc.reg_write(_CR0_ID, _CR0)
        self._uc.reg_write(_PSWM, PSW_MASK)
        self._handle = self._uc._uch
        self._uc.hook_add(UC_HOOK_INTR, self._interrupt)
        self._calling, self._returning = _Batch((_PC, *_GENERAL[1:8])), _Batch((_PC, _GENERAL[2]))
        self._all = _Batch((_PSWM, _PC, _FPC, *_GENERAL, *_ACCESS, *_LEFT, *_RIGHT))
        self._blank: UcContext = self._uc.context_save()
        self._scratch: UcContext = self._uc.context_save()
        self._interruption = _interruption_of(self._scratch)
        self._exception_id = ctypes.c_uint64.__ctype_be__.from_address(window + _TRANSLATION_EXCEPTION_ID)
        self._failure: BaseException | None = None
        self._rounds_otherwise = False  # than the floating-point control register says
        ctypes.memmove(window + _LOAD_FPC_AT, _LOAD_FPC, len(_LOAD_FPC))
        self.stops = ExactStops(self._uc, self._blank.size)
        self._started_at = 0
        self._retries = False  # the instruction that was interrupted

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self, *, one: bool = False) -> None:
        """Run the program whose state is loaded until one of the handlers, or `stop`, ends that; or one instruction.

        What a handler raises is raised here. Raises CpuError where the emulator fails.
        """
        if self._rounds_otherwise:
            self._take_rounding()
        try:
            with self.stops.anywhere() if one else self.stops.on_request():
                self._start(count=int(one))
                while one and self._retries and self.address == self._started_at:  # Unicorn counts each attempt
                    self._start(count=1)
        except UcError as error:
            raise CpuError(f"the CPU stopped at {self.address:#x}: {error}") from error
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _start(self, count: int) -> None:
        self._started_at, self._retries = self._uc.reg_read(_PC), False
        self._uc.emu_start(self._started_at, _NOWHERE, count=count)

    def stop(self) -> None:
        """Stop it soon, between two instructions. At the start a stop may be lost."""
        uclib.uc_emu_stop(self._handle)

    def _interrupt(self, _uc: Uc, number: int, _data: Any) -> None:
        try:
            going = self.on_call() if number == SUPERVISOR_CALL else self.on_check(self._interruption_code())
        except BaseException as failure:
            self._failure, going = failure, False
        self._retries = going and number == _PROGRAM_CHECK
        if not going:
            uclib.uc_emu_stop(self._handle)
        self.stops.after_hook()

    @property
    def failing_access(self) -> FailingAccess:
        """What the last translation or protection exception was about."""
        found = self._exception_id.value
        kind = found & _ACCESS_KIND
        return FailingAccess(found & _FAILING_PAGE, kind == _STORE, kind == _FETCH)

    def _interruption_code(self) -> int:
        """Return why a program was interrupted.

        Where Unicorn starts at an instruction that there is not, it fetches an instruction from address 0. The length
        that it gives tells that from an instruction that loads from there.
        """
        uclib.uc_context_save(self._handle, self._scratch.context)
        code, size_bytes = self._interruption
        if (
            code in TRANSLATIONS
            and size_bytes == _FETCHED_BYTES
            and self.failing_access == (0, False, True)
            and self.address == self._started_at >= _PAGE_BYTES
        ):
            return OPERATION
        return code

    # -- state -----------------------------------------------------------------------------------------------------

    def new_context(self, root: int, address: int, stack_pointer: int) -> UcContext:
        """Return the state of a program that has not begun: all else is zero. `root` designates its address space."""
        context: UcContext = self._uc.context_save()
        ctypes.memmove(context.context, self._blank.context, self._blank.size)
        for register, value in ((_CR1_ID, root), (_PC, address), (_GENERAL[_STACK_POINTER], stack_pointer)):
            context.reg_write(register, value)
        return context

    def child_context(
        self, root: int, address: int, stack_pointer: int | None, thread_pointer: int | None
    ) -> UcContext:
        """Return the loaded state as a child has it, which sees 0 in register 2 and goes on at `address`."""
        context: UcContext = self._uc.context_save()
        values = {_CR1_ID: root, _PC: address, _GENERAL[2]: 0}
        if stack_pointer is not None:
            values[_GENERAL[_STACK_POINTER]] = stack_pointer
        if thread_pointer is not None:  # in the access registers 0 and 1
            values |= {_ACCESS[0]: thread_pointer >> 32, _ACCESS[1]: thread_pointer & 0xFFFF_FFFF}
        for register, value in values.items():
            context.reg_write(register, value)
        return context

    def save(self, context: UcContext) -> None:
        """Save the loaded state."""
        if self._rounds_otherwise:
            self._take_rounding()
        uclib.uc_context_save(self._handle, context.context)

    def load(self, context: UcContext) -> None:
        """Load a saved state. Where its address space is another one, `purge` is due."""
        uclib.uc_context_restore(self._handle, context.context)

    def purge(self) -> None:
        """Forget translated addresses, after page tables became invalid or more restrictive, or others were loaded."""
        uclib.uc_ctl(self._handle, _FLUSH_ADDRESSES)

    def forget_code(self) -> None:
        """Forget translated code, after the host changed what may be instructions."""
        self._uc.ctl(UC_CTL_TB_FLUSH, UC_CTL_IO_WRITE)

    @property
    def address(self) -> int:
        """The address of the instruction."""
        return self._uc.reg_read(_PC)

    @address.setter
    def address(self, value: int) -> None:
        self._uc.reg_write(_PC, value & _MASK)

    def call_registers(self) -> list[int]:
        """Return the instruction's address and the general registers 1 to 7: all that a system call needs."""
        return self._calling.read(self._handle)

    def general(self, number: int) -> int:
        """Return a general register."""
        return self._uc.reg_read(_GENERAL[number])

    def set_general(self, number: int, value: int) -> None:
        """Set a general register."""
        self._uc.reg_write(_GENERAL[number], value & _MASK)

    def floating(self, number: int) -> int:
        """Return a floating-point register."""
        return self._uc.reg_read(_LEFT[number])

    def set_floating(self, number: int, value: int) -> None:
        """Set a floating-point register."""
        self._uc.reg_write(_LEFT[number], value)

    def set_result(self, value: int, address: int) -> None:
        """Have a program go on behind a system call, with the result in register 2."""
        self._returning.write(self._handle, [address & _MASK, value & _MASK])

    @property
    def floating_control(self) -> int:
        """The floating-point control register; setting it leaves the rounding mode as it is."""
        return self._uc.reg_read(_FPC)

    @floating_control.setter
    def floating_control(self, value: int) -> None:
        self._uc.reg_write(_FPC, value)

    def set_condition(self, code: int) -> None:
        """Set the condition code."""
        mask = self._uc.reg_read(_PSWM) & ~(3 << _CONDITION_SHIFT)
        self._uc.reg_write(_PSWM, mask | code << _CONDITION_SHIFT)

    @property
    def data_exception_code(self) -> int:
        """Why a data exception happened: byte 2 of the floating-point control register."""
        return self._uc.reg_read(_FPC) >> 8 & 0xFF

    def registers(self) -> Registers:
        """Return what a signal frame holds."""
        mask, address, fpc, *rest = self._all.read(self._handle)
        return Registers(mask, address, tuple(rest[:16]), tuple(rest[16:32]), fpc, tuple(rest[32:64]), tuple(rest[64:]))

    def set_registers(self, state: Registers) -> None:
        """Load what a signal frame holds; of the PSW's mask only what a program may set.

        A floating-point control register that cannot be loaded becomes 0, as in Linux (fpu_lfpc_safe).
        """
        fpc = 0 if state.fpc & _FPC_INVALID or state.fpc & _FPC_ROUNDING in _NO_ROUNDING else state.fpc
        self._rounds_otherwise |= (fpc ^ self._uc.reg_read(_FPC)) & _FPC_ROUNDING != 0
        mask = PSW_MASK | state.psw_mask & PSW_OWN
        others = (*state.general, *state.access, *state.left, *state.right)
        self._all.write(self._handle, [mask, state.address, fpc, *others])

    def _take_rounding(self) -> None:
        """Have the emulator round as the floating-point control register says, which it learns by SFPC only.

        The instruction is run without address translation, where no program has a page.
        """
        self._rounds_otherwise = False
        mask, address, register = (self._uc.reg_read(each) for each in (_PSWM, _PC, _GENERAL[0]))
        self._uc.reg_write(_GENERAL[0], self._uc.reg_read(_FPC))
        self._uc.reg_write(_PSWM, mask & ~_PSW_TRANSLATION)
        on_call, self.on_call = self.on_call, lambda: False
        try:
            self._uc.emu_start(_LOAD_FPC_AT, _NOWHERE)
        finally:
            self.on_call = on_call
            for each, value in ((_PSWM, mask), (_PC, address), (_GENERAL[0], register)):
                self._uc.reg_write(each, value)


def _interruption_of(context: UcContext) -> "ctypes.Array[ctypes.c_uint32]":
    """Return where a saved context has the program interruption code and the length of the instruction.

    No register gives them. The code lies eight doublewords behind the PSW's mask (env.psw.mask, .addr, .cc_src,
    .cc_dst, .cc_vr, .ex_value, __excp_addr, psa, int_pgm_code), the length behind it; `vmguest.s390x.self_test` proves
    it. Raises CpuError where there is no mask.
    """
    address = ctypes.cast(context.context, ctypes.c_void_p).value
    assert address is not None
    offset = _find_mask(ctypes.string_at(address, context.size)) + 64
    return (ctypes.c_uint32 * 2).from_address(address + offset)


def _find_mask(raw: bytes) -> int:
    """Return where a saved context has the PSW's mask. Raises CpuError where it is not found."""
    for offset in range(0, len(raw) - 72, 8):
        (value,) = struct.unpack_from("=Q", raw, offset)
        if value & ~PSW_OWN == PSW_MASK:
            return offset
    raise CpuError("a saved context of Unicorn has no PSW; wanted Unicorn 2.1.4")
