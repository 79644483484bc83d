"""How far absolute storage must reach for a guest: to the end of the highest segment that it has as a device."""

from dcss.abi.diag64 import (
    DIAGNOSE_64,
    FINDSEGA,
    QIN64,
    QOUT64,
    QOUT64_LINUX_SIZE_BYTES,
    ConditionCode,
    Diag64,
    Qin64,
    Qout64,
)
from dcss.abi.extmem import SegmentName
from dcss.abi.hypercall import Request
from dcss.config.names import device_segments
from dcss.config.plan import GuestPlan
from dcss.engines.base import Port

_OPERAND, _OUTPUT = 0x2000, 0x3000  # any doublewords: nothing is stored there


async def segments_end(plan: GuestPlan, port: Port) -> int:
    """Ask CP, as the guest would, and return the address behind its highest segment; 0 where CP knows none."""
    end = 0
    for name in dict.fromkeys(name for device in plan.dcssblk for name in device_segments(device)):
        question = Qin64(FINDSEGA, bytes(3), 0, bytes(3), SegmentName(name).ebcdic, _OUTPUT, QOUT64_LINUX_SIZE_BYTES)
        reply = await port(Request(DIAGNOSE_64, _OPERAND, Diag64.SEGEXTX, QIN64.pack(*question)))
        if reply.condition_code == ConditionCode.DONE:
            end = max(end, Qout64._make(QOUT64.unpack_from(reply.block)).segend + 1)
    return end
