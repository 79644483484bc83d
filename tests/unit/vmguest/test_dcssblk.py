"""The driver's rules, errno and messages (FACTS section 4)."""

from errno import EBUSY, EEXIST, EINVAL, EIO, ENAMETOOLONG, ENODEV, ERANGE

import pytest
from guest_harness import definition, fill_with, guest_kernel

from dcss.abi.extmem import PAGE_SIZE
from dcss.cp.control import ControlProgram
from dcss.errors import KernelError, StaleReferenceError
from vmguest.kernel import Kernel

CONTENT = b"0123456789abcdef" * (PAGE_SIZE // 16) + b"second page".ljust(PAGE_SIZE)


def refused(errno: int):  # noqa: ANN201 - a context
    return pytest.raises(KernelError, check=lambda error: error.errno == errno)


def buffer(kernel: Kernel, pages: int = 1) -> int:
    return kernel.machine.storage.address(kernel.machine.storage.allocate(pages))


def test_add_makes_a_read_only_disk_and_says_so(control_program: ControlProgram) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        device = kernel.dcssblk.add("lib\n")
        assert (device.name, device.size_bytes, device.read_only) == ("dcssblk0", 1 << 20, True)
        assert kernel.log.messages()[-1] == (
            "dcssblk: Loaded lib with total size 1048576 bytes and capacity 2048 sectors"
        )


@pytest.mark.parametrize(
    ("text", "errno"),
    [("", ENAMETOOLONG), ("\n", ENAMETOOLONG), ("A:", ENAMETOOLONG), ("TOOLONGNAME", ENAMETOOLONG), ("LIB", EEXIST)],
)
def test_add_refuses(control_program: ControlProgram, text: str, errno: int) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.add("LIB")
        with refused(errno):
            kernel.dcssblk.add(text)
        assert len(kernel.dcssblk.devices) == 1


def test_several_segments_are_one_device(control_program: ControlProgram) -> None:
    for name, words in (
        ("A", "20000-200FF SR"),
        ("B", "20100-201FF SR"),
        ("C", "20300-203FF SR"),
        ("D", "20200-202FF EW"),
    ):
        control_program.publish(definition(name, words), fill_with(name.encode() * PAGE_SIZE))
    with guest_kernel(control_program) as kernel:
        device = kernel.dcssblk.add("B:A")  # named after the first given, laid out by address
        assert (device.segment_name, device.start, device.size_bytes) == ("B", 0x20000000, 2 << 20)
        opened = device.open()
        reference = device.direct_access(opened, 0, 2 << 20)
        assert (reference.view()[0], reference.view()[1 << 20]) == (ord("A"), ord("B"))
        device.release(opened)
        kernel.dcssblk.remove("B")
        with refused(EINVAL):
            kernel.dcssblk.add("B:C")
        with refused(EINVAL):
            kernel.dcssblk.add("B:D")
        assert kernel.log.messages("err") == [
            "dcssblk: Adjacent DCSSs B and C are not contiguous",
            "dcssblk: DCSS B and DCSS D have incompatible types",
        ]
        assert [control_program.users(name) for name in "ABCD"] == [0, 0, 0, 0]


def test_direct_access_contract(control_program: ControlProgram) -> None:
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


def test_a_reference_outlives_neither_release_nor_unload(control_program: ControlProgram) -> None:
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


def test_transfers_are_whole_pages_and_writes_to_sr_fail(control_program: ControlProgram) -> None:
    control_program.publish(definition("LIB"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        device = kernel.dcssblk.add("LIB")
        opened = device.open()
        target = buffer(kernel, 2)
        device.read(opened, 0, target, 2 * PAGE_SIZE)
        assert kernel.machine.storage.view(target - kernel.machine.storage.base, 2 * PAGE_SIZE) == CONTENT
        for sector, size_bytes in ((1, PAGE_SIZE), (0, 512), (2048, PAGE_SIZE), (0, 0), (-8, PAGE_SIZE)):
            with refused(EIO):
                device.read(opened, sector, target, size_bytes)
        with refused(EIO):
            device.write(opened, 0, target, PAGE_SIZE)
        assert kernel.log.messages("warn") == ["dcssblk: Writing to LIB failed because it is a read-only device"]


def test_writes_to_a_local_copy_and_to_sw(control_program: ControlProgram) -> None:
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


def test_remove_refuses_what_it_does_not_know(control_program: ControlProgram) -> None:
    with guest_kernel(control_program) as kernel:
        with refused(ENODEV):
            kernel.dcssblk.remove("LIB")
        with refused(ENAMETOOLONG):
            kernel.dcssblk.remove("")
        assert kernel.log.messages("warn") == ["dcssblk: Device LIB cannot be removed because it is not a known device"]
