"""DIAGNOSE X'64' as arch/s390/mm/extmem.c issues it: which function codes CP has, operands, output areas."""

from typing import NamedTuple

from dcss.abi.diag64 import (
    FINDSEGA,
    LINUX_RANGES,
    QIN64,
    QOUT64,
    QOUT64_LINUX_SIZE_BYTES,
    QOUT64_OLD,
    QRANGE,
    QRANGE_OLD,
    ConditionCode,
    Diag64,
    Qin64,
    Qout64,
    Qrange,
)
from dcss.abi.extmem import PageRange, SegmentType
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from vmguest.machine import DiagnoseResult, VirtualMachine
from vmguest.storage import ProgramCheckError

_NAME_AREA, _QIN_AREA, _QOUT_AREA = 0, 64, 128  # places in the page that holds operands of DIAGNOSE
_PROBE = b"dummy\0\0\0"  # in ASCII, so no segment's name; that is what Linux asks for


class Subcodes(NamedTuple):
    """The function codes in use, by Linux's names for them."""

    loadshr: Diag64
    loadnsr: Diag64
    purgeseg: Diag64
    segext: Diag64


NEW_SUBCODES = Subcodes(Diag64.LOADSHRX, Diag64.LOADNSRX, Diag64.PURGESEG, Diag64.SEGEXTX)
OLD_SUBCODES = Subcodes(Diag64.LOADNOLY, Diag64.LOADNSHR, Diag64.PURGESEG, Diag64.SEGEXT)


class SegmentExtent(NamedTuple):
    """SEGEXT's output: first and last byte, how many ranges the segment has, and those that there was room for."""

    start: int
    end: int
    range_count: int
    ranges: tuple[PageRange, ...]


class DcssDiag:
    """A guest's calls of DIAGNOSE X'64'; names are 8 bytes of EBCDIC.

    The first call asks CP whether it knows the 64-bit function codes, as dcss_set_subcodes() does; all calls raise
    KernelError(ENOMEM) where the guest's storage has no page for the operands, ConnectionError where CP is gone.
    """

    def __init__(self, machine: VirtualMachine) -> None:
        self._machine = machine
        self._operand_frame: int | None = None
        self._subcodes: Subcodes | None = None

    @property
    def subcodes(self) -> Subcodes:
        """The function codes that this CP has."""
        if self._subcodes is None:
            try:
                condition_code = self._diagnose_name(Diag64.FINDSEGX, _PROBE).condition_code
            except ProgramCheckError:
                condition_code = ConditionCode.UNSUPPORTED
            self._subcodes = OLD_SUBCODES if condition_code == ConditionCode.UNSUPPORTED else NEW_SUBCODES
        return self._subcodes

    def load(self, name: bytes, *, do_nonshared: bool) -> DiagnoseResult:
        """LOADSHRX or LOADNSRX, or what an old CP has for them."""
        return self._diagnose_name(self.subcodes.loadnsr if do_nonshared else self.subcodes.loadshr, name)

    def purge(self, name: bytes) -> DiagnoseResult:
        """PURGESEG."""
        return self._diagnose_name(self.subcodes.purgeseg, name)

    def query(self, name: bytes) -> tuple[DiagnoseResult, SegmentExtent | None]:
        """SEGEXTX or SEGEXT, with room for six ranges; None where the condition code says that there is no output."""
        function = self.subcodes.segext
        operands, storage = self._operands(), self._machine.storage
        area = Qin64(FINDSEGA, b"", 0, b"", name, operands + _QOUT_AREA, QOUT64_LINUX_SIZE_BYTES)
        storage.view(operands + _QIN_AREA, QIN64.size)[:] = QIN64.pack(*area)
        result = self._machine.diagnose_64(operands + _QIN_AREA, function)
        if result.condition_code > 1:
            return result, None
        out = storage.view(operands + _QOUT_AREA, QOUT64_LINUX_SIZE_BYTES)
        head, entry = (QOUT64, QRANGE) if function is Diag64.SEGEXTX else (QOUT64_OLD, QRANGE_OLD)
        start, end, count, returned = Qout64._make(head.unpack_from(out))
        places = (head.size + i * entry.size for i in range(min(returned, LINUX_RANGES)))
        found = [Qrange._make(entry.unpack_from(out, place)) for place in places]
        ranges = tuple(
            PageRange(r.start >> PAGE_SHIFT, r.end >> PAGE_SHIFT, SegmentType(r.start & 0xFF)) for r in found
        )
        return result, SegmentExtent(start, end, count, ranges)

    def _diagnose_name(self, function: Diag64, name: bytes) -> DiagnoseResult:
        operand = self._operands() + _NAME_AREA
        self._machine.storage.view(operand, len(name))[:] = name
        return self._machine.diagnose_64(operand, function)

    def _operands(self) -> int:
        if self._operand_frame is None:
            self._operand_frame = self._machine.storage.allocate(1)
        return self._operand_frame * PAGE_SIZE
