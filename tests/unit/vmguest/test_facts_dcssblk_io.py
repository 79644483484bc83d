"""docs/facts.md, section 4: transfers and references of dcssblk's devices; the row's name is its id there."""

from collections.abc import Iterator
from errno import EINVAL, EIO, ENODEV, ERANGE

import pytest
from cp_support import BlockingCp
from dcssblk_support import MIB, SECTORS, TYPES, Guest
from guest_support import definition, guest_kernel

from dcss.abi.extmem import SegmentName, SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError, StaleReferenceError


@pytest.fixture
def guest(control_program: BlockingCp) -> Iterator[Guest]:
    with guest_kernel(control_program) as kernel:
        yield Guest(control_program, kernel)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_4_add_read_only(control_program: BlockingCp, kind: SegmentType) -> None:
    control_program.publish(definition("KIND", f"20000-200FF {kind.name}"), lambda _: None)
    with guest_kernel(control_program) as kernel:
        guest = Guest(control_program, kernel)
        guest.do("add=KIND")
        read_only = kind.name in {"SR", "ER", "SC"}
        assert guest.device("KIND").read_only is read_only
        if kind is not SegmentType.SC:
            guest.do("KIND/shared=0")
            assert guest.device("KIND").read_only is False
            guest.do("KIND/shared=1")
            assert guest.device("KIND").read_only is read_only


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_4_io_write_by_type(control_program: BlockingCp, kind: SegmentType) -> None:
    control_program.publish(definition("KIND", f"20000-200FF {kind.name}"), lambda _: None)
    with guest_kernel(control_program) as kernel:
        guest = Guest(control_program, kernel)
        guest.do("add=kind")
        device = guest.device("KIND")
        opened = device.open()
        page = guest.page(b"written")
        if kind.name in {"SR", "ER", "SC"}:
            with pytest.raises(KernelError) as caught:
                device.write(opened, 8, page, PAGE_SIZE)
            assert caught.value.errno == EIO
            assert guest.log()[-1] == "warn dcssblk: Writing to KIND failed because it is a read-only device"
        else:
            device.write(opened, 8, page, PAGE_SIZE)
            back = guest.page()
            device.read(opened, 8, back, PAGE_SIZE)
            assert guest.bytes_at(back, 7) == b"written"
        stored = control_program.available[SegmentName("KIND")].object.buffer
        assert bytes(stored[PAGE_SIZE : PAGE_SIZE + 7]) == (b"written" if kind.name in {"SW", "SN"} else bytes(7))


def test_4_io_write_exclusive(guest: Guest) -> None:
    guest.do("add=LIB:MORE")
    guest.do("LIB/shared=0")
    device = guest.device("LIB")
    opened = device.open()
    device.write(opened, SECTORS, guest.page(b"mine"), PAGE_SIZE)
    back = guest.page()
    device.read(opened, SECTORS, back, PAGE_SIZE)
    assert guest.bytes_at(back, 4) == b"mine"
    device.release(opened)
    guest.do("LIB/shared=1")
    opened = device.open()
    device.read(opened, SECTORS, back, PAGE_SIZE)
    assert guest.bytes_at(back, 4) == bytes(4)  # not saved, so gone


def test_4_io_write_names_the_device(guest: Guest) -> None:
    guest.do("add=MORE:LIB")
    device = guest.device("MORE")
    with pytest.raises(KernelError):
        device.write(device.open(), 0, guest.page(), PAGE_SIZE)
    assert guest.log()[-1] == "warn dcssblk: Writing to MORE failed because it is a read-only device"


@pytest.mark.parametrize(
    ("fact", "sector", "size_bytes", "offset"),
    [
        ("4-io-sector", 1, PAGE_SIZE, 0),
        ("4-io-sector", 7, PAGE_SIZE, 0),
        ("4-io-size", 0, 512, 0),
        ("4-io-size", 8, PAGE_SIZE + 1, 0),
        ("4-io-buffer", 0, PAGE_SIZE, 8),
        ("4-io-end", SECTORS, PAGE_SIZE, 0),
        ("4-io-end", SECTORS - 8, 2 * PAGE_SIZE, 0),
    ],
)
def test_io(guest: Guest, fact: str, sector: int, size_bytes: int, offset: int) -> None:
    guest.do("add=SW")
    device = guest.device("SW")
    opened = device.open()
    address = guest.page(b"x" * 4 * PAGE_SIZE, 4) + offset
    for transfer in (device.read, device.write):
        with pytest.raises(KernelError) as caught:
            transfer(opened, sector, address, size_bytes)
        assert caught.value.errno == EIO, fact
    assert guest.bytes_at(address, 2 * PAGE_SIZE) == b"x" * 2 * PAGE_SIZE
    assert bytes(guest.cp.available[SegmentName("SW")].object.buffer) == bytes(MIB)
    device.read(opened, SECTORS - 8, guest.page(), PAGE_SIZE)  # the last page is inside


def test_4_io_spans_segments(guest: Guest) -> None:
    """Bytes that lie in two segments, which are two objects on the host, by one transfer and by one reference."""
    guest.do("add=EN2:MIX")
    device = guest.device("EN2")
    opened = device.open()
    sector = 2 * SECTORS - 8
    device.write(opened, sector, guest.page(b"a" * PAGE_SIZE + b"b" * PAGE_SIZE, 2), 2 * PAGE_SIZE)
    back = guest.page(pages=2)
    device.read(opened, sector, back, 2 * PAGE_SIZE)
    assert guest.bytes_at(back, 2 * PAGE_SIZE) == b"a" * PAGE_SIZE + b"b" * PAGE_SIZE
    reference = device.direct_access(opened, sector, 2 * PAGE_SIZE)
    assert bytes(reference.view()) == b"a" * PAGE_SIZE + b"b" * PAGE_SIZE
    assert reference.page_frame == 0x305FF


def test_4_direct_access(guest: Guest) -> None:
    """Address and frame of a page; no check of type or mode, so read-only and shared segments are referred to too."""
    guest.do("add=MON")
    device = guest.device("MON")
    reference = device.direct_access(device.open(), 16, PAGE_SIZE)
    assert reference.page_frame == 0x50202
    assert reference.kernel_address == guest.kernel.machine.absolute(0x50202)


@pytest.mark.parametrize(
    ("fact", "sector", "pages", "errno"),
    [
        ("4-direct-access-einval", 4, 1, EINVAL),
        ("4-direct-access-einval", SECTORS + 1, 1, EINVAL),
        ("4-direct-access-erange", SECTORS, 1, ERANGE),
        ("4-direct-access-erange", SECTORS - 8, 2, ERANGE),
    ],
)
def test_direct_access_refuses(guest: Guest, fact: str, sector: int, pages: int, errno: int) -> None:
    guest.do("add=LIB")
    device = guest.device("LIB")
    opened = device.open()
    assert device.direct_access(opened, SECTORS - 8, PAGE_SIZE).page_frame == 0x200FF
    with pytest.raises(KernelError) as caught:
        device.direct_access(opened, sector, pages * PAGE_SIZE)
    assert caught.value.errno == errno, fact


def test_4_direct_access_enodev(guest: Guest) -> None:
    guest.do("add=LIB")
    device = guest.device("LIB")
    opened = device.open()
    device.release(opened)
    guest.do("remove=LIB")
    with pytest.raises(StaleReferenceError) as stale:
        device.direct_access(opened, 0, PAGE_SIZE)
    with pytest.raises(KernelError) as gone:
        device.open()
    assert stale.value.errno == gone.value.errno == ENODEV
