"""What the driver's devices hold, and how long references into them live; its rules are in test_facts_dcssblk.py."""

import os
from errno import EBUSY, EINVAL, ENODEV, ERANGE
from functools import partial

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from mm_support import StoredPages

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError, StaleReferenceError
from vmguest import hostmem
from vmguest.kernel import Kernel

CONTENT = b"0123456789abcdef" * (PAGE_SIZE // 16) + b"second page".ljust(PAGE_SIZE)


def refused(errno: int) -> pytest.RaisesExc[KernelError]:
    return pytest.raises(KernelError, check=lambda error: error.errno == errno)


def buffer(kernel: Kernel, pages: int = 1) -> int:
    return kernel.machine.storage.address(kernel.machine.storage.allocate(pages))


def test_several_segments_are_one_device(control_program: BlockingCp) -> None:
    for name, words in (("A", "20000-200FF SR"), ("B", "20100-201FF SR")):
        control_program.publish(definition(name, words), fill_with(name.encode() * PAGE_SIZE))
    with guest_kernel(control_program) as kernel:
        device = kernel.dcssblk.add("B:A")  # named after the first given, laid out by address
        assert (device.segment_name, device.start, device.size_bytes) == ("B", 0x20000000, 2 << 20)
        opened = device.open()
        reference = device.direct_access(opened, 0, 2 << 20)
        assert (reference.view()[0], reference.view()[1 << 20]) == (ord("A"), ord("B"))


def test_a_user_mapping_is_put_together_from_several_segments(control_program: BlockingCp) -> None:
    for name, words in (("A", "20000-200FF SR"), ("B", "20100-201FF SR")):
        control_program.publish(definition(name, words), partial(_fill_last_page, name=name))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.add("A:B")
        machine, mm = kernel.machine, kernel.init.mm
        address = mm.map(StoredPages(0x200FE), 0, 258)
        assert bytes(hostmem.view(address + PAGE_SIZE, PAGE_SIZE)) == b"A" * PAGE_SIZE
        assert bytes(hostmem.view(address + 257 * PAGE_SIZE, PAGE_SIZE)) == b"B" * PAGE_SIZE
        assert machine.shared_pieces(0x201FF, 2) == []  # not all of it is in segments
        kernel.dcssblk.set_shared("A", shared=False)
        assert machine.shared_pieces(0x200FF, 2) == []  # what was written is there alone
        hostmem.view(machine.absolute(0x200FF), 4)[:] = b"mine"
        address = mm.map(StoredPages(0x200FF), 0, 2)
        assert mm.read(address, 2 * PAGE_SIZE)[:5] == b"mineA"


def _fill_last_page(descriptor: int, name: str) -> None:
    os.pwrite(descriptor, name.encode() * PAGE_SIZE, 255 * PAGE_SIZE)


def test_direct_access_contract(control_program: BlockingCp) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        device = kernel.dcssblk.add("LIB")
        opened = device.open()
        reference = device.direct_access(opened, 8, PAGE_SIZE)
        assert reference.page_frame == 0x20001
        assert bytes(reference.view()[:11]) == b"second page"
        assert reference.view().readonly
        with refused(EINVAL):
            device.direct_access(opened, 7, PAGE_SIZE)
        with refused(ERANGE):
            device.direct_access(opened, 2048, PAGE_SIZE)
        with refused(ERANGE):
            device.direct_access(opened, 2040, 2 * PAGE_SIZE)


def test_a_reference_outlives_neither_release_nor_unload(control_program: BlockingCp) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        device = kernel.dcssblk.add("LIB")
        released, kept = device.open(), device.open()
        stale, fresh = device.direct_access(released, 0, PAGE_SIZE), device.direct_access(kept, 0, PAGE_SIZE)
        device.release(released)
        with pytest.raises(StaleReferenceError, match="outlived"):
            stale.view()
        with pytest.raises(StaleReferenceError):
            device.direct_access(released, 0, PAGE_SIZE)
        assert bytes(fresh.view()) == CONTENT[:PAGE_SIZE]
        with refused(EBUSY):
            kernel.dcssblk.remove("LIB")
        device.release(kept)
        kernel.dcssblk.remove("LIB")
        with pytest.raises(StaleReferenceError):
            fresh.view()
        with refused(ENODEV):
            device.open()


def test_writes_to_a_local_copy_and_to_sw(control_program: BlockingCp) -> None:
    sr = control_program.publish(definition("LIB"), fill_with(CONTENT))
    sw = control_program.publish(definition("WORK", "21000-210FF SW"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("lib(local),nosuch,work")
        assert [device.name for device in kernel.dcssblk.devices.values()] == ["dcssblk0", "dcssblk1"]
        assert "extmem: DCSS NOSUCH cannot be loaded or queried" in kernel.log.messages("err")
        source = buffer(kernel)
        kernel.machine.storage.view(source - kernel.machine.storage.base, 5)[:] = b"mine!"
        for device in kernel.dcssblk.devices.values():
            opened = device.open()
            device.write(opened, 0, source, PAGE_SIZE)
            assert bytes(device.direct_access(opened, 0, PAGE_SIZE).view()[:5]) == b"mine!"
        assert bytes(sr.object.buffer[:5]) == CONTENT[:5]  # exclusive-writable: a private copy
        assert bytes(sw.object.buffer[:5]) == b"mine!"  # shared: seen by all at once
