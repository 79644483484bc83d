"""segment_load and its kin, row by row of FACTS section 3, against a real CP."""

from errno import EAGAIN, EBUSY, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP, EPERM

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel

from dcss.abi.diag64 import Diag64
from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem

CONTENT = bytes(range(256)) * 16


def test_load_maps_the_segment_at_its_absolute_address(control_program: BlockingCp) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        segment = kernel.extmem.segment_load("lib", do_nonshared=False)
        assert (segment.start, segment.end, segment.type) == (0x20000000, 0x200FFFFF, SegmentType.SR)
        at = kernel.machine.reservation.window + 0x20000000
        assert bytes(hostmem.view(at, PAGE_SIZE)) == CONTENT
        assert kernel.calls.functions() == [Diag64.FINDSEGX, Diag64.SEGEXTX, Diag64.LOADSHRX]  # type: ignore[attr-defined]
        assert kernel.log.messages("info") == [
            "extmem: DCSS lib of range 0000000020000000 to 00000000200fffff and type SR loaded in shared access mode"
        ]
        assert control_program.users("LIB") == 1
        kernel.extmem.segment_unload("LIB")
        assert control_program.users("LIB") == 0


def test_second_load_counts_and_other_mode_is_refused(control_program: BlockingCp) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        first = kernel.extmem.segment_load("LIB", do_nonshared=False)
        assert kernel.extmem.segment_load("LIB", do_nonshared=False) is first
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_load("LIB", do_nonshared=True)
        assert caught.value.errno == EPERM
        kernel.extmem.segment_unload("LIB")
        assert control_program.users("LIB") == 1
        kernel.extmem.segment_unload("LIB")
        assert control_program.users("LIB") == 0
        kernel.extmem.segment_unload("LIB")
        assert kernel.log.messages("err") == ["extmem: Unloading unknown DCSS LIB failed"]


def test_unknown_segment_is_enoent_with_cps_code(control_program: BlockingCp) -> None:
    with guest_kernel(control_program) as kernel:
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_load("NOSUCH", do_nonshared=False)
        assert caught.value.errno == ENOENT
        assert kernel.log.messages() == ["extmem: Querying a DCSS type failed with rc=44"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("20000-200FF EW,20100-201FF EN", SegmentType.EWEN),
        ("20000-200FF EW,20100-201FF ER", EOPNOTSUPP),
        ("20000-200FF EW,20200-202FF EN", EOPNOTSUPP),
        ("20000-200FF SR,20100-201FF SN", EOPNOTSUPP),
        (",".join(f"{0x20000 + i * 256:X}-{0x200FF + i * 256:X} EW" for i in range(7)), EOPNOTSUPP),
        (",".join(f"{0x20000 + i * 256:X}-{0x200FF + i * 256:X} EW" for i in range(6)), SegmentType.EWEN),
    ],
)
def test_several_ranges(control_program: BlockingCp, words: str, expected: SegmentType | int) -> None:
    control_program.publish(definition("MIX", words), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        if isinstance(expected, SegmentType):
            assert kernel.extmem.segment_type("MIX") is expected
        else:
            with pytest.raises(KernelError) as caught:
                kernel.extmem.segment_type("MIX")
            assert caught.value.errno == expected


def test_places_that_are_taken(control_program: BlockingCp) -> None:
    control_program.publish(definition("LOW", "00300-003FF SR"), fill_with(CONTENT))
    control_program.publish(definition("A", "20000-2007F SR"), fill_with(CONTENT))
    control_program.publish(definition("B", "20080-200FF SR"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        kernel.extmem.segment_load("A", do_nonshared=False)
        for name, errno in (("LOW", ENOSPC), ("B", EBUSY)):
            with pytest.raises(KernelError) as caught:
                kernel.extmem.segment_load(name, do_nonshared=False)
            assert caught.value.errno == errno
            kernel.extmem.segment_warning(caught.value, name)
        assert kernel.log.messages("err") == [
            "extmem: DCSS LOW overlaps with used storage and cannot be loaded",
            "extmem: B needs used memory resources and cannot be loaded or queried",
        ]


def test_non_shared_load_is_a_private_copy(control_program: BlockingCp) -> None:
    segment = control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        kernel.extmem.segment_load("LIB", do_nonshared=True)
        view = hostmem.view(kernel.machine.absolute(0x20000), PAGE_SIZE)
        view[:4] = b"mine"
        assert bytes(segment.object.buffer[:4]) == CONTENT[:4]
        assert "loaded as exclusive-writable" in kernel.log.messages("info")[-1]


def test_modify_shared(control_program: BlockingCp) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        extmem = kernel.extmem
        with pytest.raises(KernelError) as caught:
            extmem.segment_modify_shared("LIB", do_nonshared=True)
        assert caught.value.errno == EINVAL
        extmem.segment_load("LIB", do_nonshared=False)
        extmem.segment_modify_shared("LIB", do_nonshared=False)
        assert kernel.log.messages("info")[-1] == "extmem: DCSS LIB is already in the requested access mode"
        extmem.segment_load("LIB", do_nonshared=False)
        with pytest.raises(KernelError) as caught:
            extmem.segment_modify_shared("LIB", do_nonshared=True)
        assert caught.value.errno == EAGAIN
        assert kernel.log.messages("warn") == ["extmem: DCSS LIB is in use and cannot be reloaded"]
        extmem.segment_unload("LIB")
        assert extmem.segment_modify_shared("LIB", do_nonshared=True).do_nonshared
        assert kernel.calls.functions()[-2:] == [Diag64.PURGESEG, Diag64.LOADNSRX]  # type: ignore[attr-defined]
