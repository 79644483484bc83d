"""docs/facts.md, section 4: what dcssblk.c takes, refuses and says; the row's name is its id there.

A step is `PATH=TEXT`, a store into an attribute below /sys/devices/dcssblk, or `open NAME`, `close NAME`, or
`cp COMMAND` at the operator's console. A row is steps that succeed, the step that it is about, how that ends, and all
that the guest logs meanwhile.
"""

from collections.abc import Iterator
from errno import EBUSY, EEXIST, EINVAL, EIO, ENAMETOOLONG, ENODEV, ENOENT, ENOSPC, EOPNOTSUPP
from typing import NamedTuple

import pytest
from cp_support import BlockingCp
from dcssblk_support import MIB, PLACES, SECTORS, Guest
from guest_support import guest_kernel

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.fs.sysfs import SysfsAttribute, SysfsLink


class Row(NamedTuple):
    """`errno` is None where the step succeeds; `log` are level and text; `devices` what there is then, by name."""

    fact: str
    before: tuple[str, ...]
    step: str
    errno: int | None
    log: tuple[str, ...]
    devices: dict[str, str]


def loaded(name: str) -> str:
    words = PLACES[name].replace("-", " ").split()
    start, end = int(words[0], 16) << 12, (int(words[-2], 16) << 12) + PAGE_SIZE - 1
    kind = words[2] if len(words) == 3 else "EW/EN-MIXED"
    return f"info extmem: DCSS {name} of range {start:016x} to {end:016x} and type {kind} loaded in shared access mode"


def made(names: str, mebibytes: int = 1) -> str:
    size = f"total size {mebibytes * MIB} bytes and capacity {mebibytes * SECTORS} sectors"
    return f"info dcssblk: Loaded {names} with {size}"


def refused(name: str, text: str) -> tuple[str, str]:
    return ("warn extmem: Querying a DCSS type failed with rc=44", f"err extmem: {text.format(name)}")


NOT_FOUND = "DCSS {} cannot be loaded or queried"
ADDS = (
    Row("4-add-empty", (), "add=", ENAMETOOLONG, (), {}),
    Row("4-add-newline", (), "add=\nLIB", ENAMETOOLONG, (), {}),
    Row("4-add-nul", (), "add=\0LIB", ENAMETOOLONG, (), {}),
    Row("4-add-one-line", (), "add=LIB\nMORE", None, (loaded("LIB"), made("LIB")), {"LIB": "LIB"}),
    Row("4-add-one-line", (), "add=LIB\0:MORE", None, (loaded("LIB"), made("LIB")), {"LIB": "LIB"}),
    Row("4-add-case", (), "add=lIb\n", None, (loaded("LIB"), made("lIb")), {"LIB": "LIB"}),
    Row(
        "4-add-case",
        (),
        "add=lib:More\n",
        None,
        (loaded("LIB"), loaded("MORE"), made("lib:More", 2)),
        {"LIB": "LIB MORE"},
    ),
    Row("4-add-name-length", (), "add=TOOLONGNAME", ENAMETOOLONG, (), {}),
    Row("4-add-name-length", (), "add=LIB:TOOLONGNAME", ENAMETOOLONG, (loaded("LIB"),), {}),
    Row("4-add-name-length", (), "add=LIB::MORE", ENAMETOOLONG, (loaded("LIB"),), {}),
    Row("4-add-name-length", (), "add=:LIB", ENAMETOOLONG, (), {}),
    Row("4-add-trailing-colon", (), "add=LIB:\n", ENAMETOOLONG, (loaded("LIB"),), {}),
    Row("4-add-trailing-colon", (), "add=LIB:MORE:", ENAMETOOLONG, (loaded("LIB"), loaded("MORE")), {}),
    Row("4-add-blanks", (), "add= LIB", ENOENT, refused(" LIB", NOT_FOUND), {}),
    Row("4-add-exists", ("add=LIB",), "add=lib", EEXIST, (), {"LIB": "LIB"}),
    Row("4-add-exists", ("add=LIB:MORE",), "add=MORE", EEXIST, (), {"LIB": "LIB MORE"}),
    Row("4-add-exists", ("add=MORE",), "add=LIB:MORE:THIRD", EEXIST, (loaded("LIB"),), {"MORE": "MORE"}),
    Row("4-add-fails", (), "add=LIB:NOSUCH:MORE", ENOENT, (loaded("LIB"), *refused("NOSUCH", NOT_FOUND)), {}),
    Row("4-add-fails", (), "add=NOSUCH:TOOLONGNAME", ENOENT, refused("NOSUCH", NOT_FOUND), {}),
    Row(
        "4-add-fails",
        (),
        "add=TWO",
        EOPNOTSUPP,
        ("err extmem: DCSS TWO has multiple page ranges and cannot be loaded or queried",),
        {},
    ),
    Row(
        "4-add-fails",
        (),
        "add=low",
        ENOSPC,
        ("err extmem: DCSS LOW overlaps with used storage and cannot be loaded",),
        {},
    ),
    Row(
        "4-add-fails",
        ("add=NEAR",),
        "add=NEXT",
        EBUSY,
        ("err extmem: NEXT needs used memory resources and cannot be loaded or queried",),
        {"NEAR": "NEAR"},
    ),
    Row(
        "4-add-fails",
        (),
        "add=SECRET",
        EIO,
        (
            "warn extmem: Loading DCSS SECRET failed with rc=45",
            "err extmem: Loading or querying DCSS SECRET resulted in a hardware error",
        ),
        {},
    ),
    Row(
        "4-add-contiguous",
        (),
        "add=THIRD:LIB",
        EINVAL,
        (loaded("THIRD"), loaded("LIB"), "err dcssblk: Adjacent DCSSs LIB and THIRD are not contiguous"),
        {},
    ),
    Row(
        "4-add-contiguous",
        (),
        "add=LIB:lib",
        EINVAL,
        (loaded("LIB"), "err dcssblk: Adjacent DCSSs LIB and LIB are not contiguous"),
        {},
    ),
    Row(
        "4-add-contiguous",
        (),
        "add=THIRD:LIB:MORE",
        None,
        (loaded("THIRD"), loaded("LIB"), loaded("MORE"), made("THIRD:LIB:MORE", 3)),
        {"THIRD": "THIRD LIB MORE"},
    ),
    Row(
        "4-add-types",
        (),
        "add=THIRD:TYPESW",
        EINVAL,
        (loaded("THIRD"), loaded("TYPESW"), "err dcssblk: DCSS THIRD and DCSS TYPESW have incompatible types"),
        {},
    ),
    Row(
        "4-add-types",
        (),
        "add=SW:SN",
        EINVAL,
        (loaded("SW"), loaded("SN"), "err dcssblk: DCSS SW and DCSS SN have incompatible types"),
        {},
    ),
    Row(
        "4-add-types",
        (),
        "add=ER:EN",
        EINVAL,
        (loaded("ER"), loaded("EN"), "err dcssblk: DCSS EN and DCSS ER have incompatible types"),
        {},
    ),
    Row(
        "4-add-types",
        (),
        "add=EW2:ER",
        EINVAL,
        (loaded("EW2"), loaded("ER"), "err dcssblk: DCSS ER and DCSS EW2 have incompatible types"),
        {},
    ),
    Row("4-add-types", (), "add=EN:EW", None, (loaded("EN"), loaded("EW"), made("EN:EW", 2)), {"EN": "EN EW"}),
    Row(
        "4-add-types",
        (),
        "add=MIX:EN2:EW2",
        None,
        (loaded("MIX"), loaded("EN2"), loaded("EW2"), made("MIX:EN2:EW2", 4)),
        {"MIX": "MIX EN2 EW2"},
    ),
)


def unknown(name: str) -> str:
    return f"warn dcssblk: Device {name} cannot be removed because it is not a known device"


REMOVES = (
    Row("4-remove", ("add=LIB:MORE", "add=SW"), "remove=lib\n", None, (), {"SW": "SW"}),
    Row("4-remove-one-line", ("add=LIB",), "remove=LIB\nX", None, (), {}),
    Row("4-remove-name-length", (), "remove=", ENAMETOOLONG, (), {}),
    Row("4-remove-name-length", (), "remove=\n", ENAMETOOLONG, (), {}),
    Row("4-remove-name-length", (), "remove=TOOLONGNAME", ENAMETOOLONG, (), {}),
    Row("4-remove-unknown", ("add=LIB",), "remove=more", ENODEV, (unknown("MORE"),), {"LIB": "LIB"}),
    Row("4-remove-member", ("add=LIB:MORE",), "remove=MORE", ENODEV, (unknown("MORE"),), {"LIB": "LIB MORE"}),
    Row("4-remove-member", ("add=MORE:LIB",), "remove=LIB", ENODEV, (unknown("LIB"),), {"MORE": "MORE LIB"}),
    Row(
        "4-remove-busy",
        ("add=LIB", "open LIB"),
        "remove=LIB",
        EBUSY,
        ("warn dcssblk: Device LIB cannot be removed while it is in use",),
        {"LIB": "LIB"},
    ),
    Row("4-remove-busy", ("add=LIB", "open LIB", "close LIB"), "remove=LIB", None, (), {}),
)
REMOVED = "err dcssblk: DCSS device {} is removed after a failed access mode change"
SHARED = (
    Row("4-shared-value", ("add=LIB",), "LIB/shared=00", EINVAL, (), {"LIB": "LIB"}),
    Row("4-shared-value", ("add=LIB",), "LIB/shared=2\n", EINVAL, (), {"LIB": "LIB"}),
    Row("4-shared-value", ("add=LIB",), "LIB/shared=\n", EINVAL, (), {"LIB": "LIB"}),
    Row("4-shared-value", ("add=LIB",), "LIB/shared=0\nx", None, (), {"LIB": "LIB"}),
    Row("4-shared-value", ("add=LIB",), "LIB/shared=0\0x", None, (), {"LIB": "LIB"}),
    Row("4-shared-busy", ("add=LIB", "open LIB"), "LIB/shared=0\n", EBUSY, (), {"LIB": "LIB"}),
    Row("4-shared-busy", ("add=LIB", "open LIB"), "LIB/shared=1\n", EBUSY, (), {"LIB": "LIB"}),
    Row("4-shared-busy", ("add=LIB", "open LIB"), "LIB/shared=x\n", EBUSY, (), {"LIB": "LIB"}),
    Row("4-shared-busy", ("add=LIB", "open LIB"), "LIB/shared=0x", EINVAL, (), {"LIB": "LIB"}),
    Row(
        "4-shared-busy",
        ("add=MON", "open MON"),
        "MON/shared=0",
        EBUSY,
        (),
        {"MON": "MON"},
    ),
    Row(
        "4-shared-sc",
        ("add=MON",),
        "MON/shared=0\n",
        EINVAL,
        ("err dcssblk: DCSS MON is of type SC and cannot be loaded as exclusive-writable",),
        {"MON": "MON"},
    ),
    Row(
        "4-shared-same",
        ("add=LIB:MORE",),
        "LIB/shared=1\n",
        None,
        tuple(f"info extmem: DCSS {name} is already in the requested access mode" for name in ("LIB", "MORE")),
        {"LIB": "LIB MORE"},
    ),
    Row(
        "4-shared-fails",
        ("add=LIB", "cp PURGE NSS NAME LIB"),
        "LIB/shared=0\n",
        ENOENT,
        ("warn extmem: Reloading DCSS LIB failed with rc=44", REMOVED.format("LIB")),
        {},
    ),
    Row(
        "4-shared-fails",
        ("add=LIB:MORE:THIRD", "add=SW", "cp PURGE NSS NAME MORE"),
        "LIB/shared=0\n",
        ENOENT,
        ("warn extmem: Reloading DCSS MORE failed with rc=44", REMOVED.format("LIB")),
        {"SW": "SW"},
    ),
)
SAVED = "info dcssblk: All DCSSs that map to device {} are saved"
WAITS = "info dcssblk: Device {} is in use, its DCSSs will be saved when it becomes idle"
CANCELED = "info dcssblk: A pending save request for device {} has been canceled"
IDLE = "info dcssblk: Device {} has become idle and is being saved now"
NO_DATA = "warn dcssblk: DCSS {} is of type SN or EN and cannot be saved"
SAVES = (
    Row("4-save-value", ("add=EW",), "EW/save=11", EINVAL, (), {"EW": "EW"}),
    Row("4-save-value", ("add=EW",), "EW/save=y\n", EINVAL, (), {"EW": "EW"}),
    Row("4-save-value", ("add=EW", "open EW"), "EW/save=y\n", EINVAL, (), {"EW": "EW"}),
    Row("4-save-idle", ("add=EW",), "EW/save=1\n", None, (SAVED.format("EW"),), {"EW": "EW"}),
    Row("4-save-busy", ("add=EW", "open EW"), "EW/save=1\n", None, (WAITS.format("EW"),), {"EW": "EW"}),
    Row(
        "4-save-cancel",
        ("add=EW", "open EW", "EW/save=1"),
        "EW/save=0\n",
        None,
        (CANCELED.format("EW"),),
        {"EW": "EW"},
    ),
    Row("4-save-cancel", ("add=EW", "open EW"), "EW/save=0\n", None, (), {"EW": "EW"}),
    Row("4-save-cancel", ("add=EW",), "EW/save=0\n", None, (), {"EW": "EW"}),
    Row("4-save-no-data", ("add=SN",), "SN/save=1", None, (SAVED.format("SN"), NO_DATA.format("SN")), {"SN": "SN"}),
    Row(
        "4-save-no-data",
        ("add=EN:EW",),
        "EN/save=1",
        None,
        (SAVED.format("EN"), NO_DATA.format("EN")),
        {"EN": "EN EW"},
    ),
    Row("4-save-last-close", ("add=EW", "open EW", "EW/save=1"), "close EW", None, (IDLE.format("EW"),), {"EW": "EW"}),
    Row("4-save-last-close", ("add=EW", "open EW", "open EW", "EW/save=1"), "close EW", None, (), {"EW": "EW"}),
    Row(
        "4-save-last-close",
        ("add=EW", "open EW", "EW/save=1", "EW/save=0"),
        "close EW",
        None,
        (),
        {"EW": "EW"},
    ),
    Row("4-save-last-close", ("add=EW", "open EW"), "close EW", None, (), {"EW": "EW"}),
)


@pytest.fixture
def guest(control_program: BlockingCp) -> Iterator[Guest]:
    with guest_kernel(control_program) as kernel:
        yield Guest(control_program, kernel)


@pytest.mark.parametrize("row", (*ADDS, *REMOVES, *SHARED, *SAVES), ids=lambda row: f"{row.fact} {row.step!r}")
def test_row(guest: Guest, row: Row) -> None:
    for step in row.before:
        guest.do(step)
    before = guest.log()
    if row.errno is None:
        guest.do(row.step)
    else:
        with pytest.raises(KernelError) as caught:
            guest.do(row.step)
        assert caught.value.errno == row.errno
    said = guest.log()[len(before) :]
    assert said == list(row.log)
    devices = {name for name in guest.tree() if name not in {b"add", b"remove"}}
    assert devices == {name.encode() for name in row.devices}
    for name, members in row.devices.items():
        assert guest.show(f"{name}/seglist") == "".join(f"{member}\n" for member in members.split())
    held = {member for members in row.devices.values() for member in members.split()}
    assert set(guest.cp.loaded("LINUX")) == held  # what a refused add had loaded is unloaded again


def test_4_tree(guest: Guest) -> None:
    guest.do("add=LIB")
    shown = {name: entry.mode for name, entry in guest.tree().items() if isinstance(entry, SysfsAttribute)}
    assert shown == {b"add": 0o200, b"remove": 0o200}
    device = guest.tree()[b"LIB"]
    assert isinstance(device, dict)
    modes = {name: entry.mode for name, entry in device.items() if isinstance(entry, SysfsAttribute)}
    assert modes == {b"shared": 0o600, b"save": 0o600, b"seglist": 0o400}
    link = device[b"block"]
    assert isinstance(link, SysfsLink)
    assert link.target.endswith(b"/dcssblk0")


def test_4_add_state(guest: Guest) -> None:
    guest.do("add=LIB")
    assert (guest.show("LIB/shared"), guest.show("LIB/save")) == ("1\n", "0\n")


def test_4_minor(guest: Guest) -> None:
    for name in ("LIB", "SW", "EW", "FAR"):
        guest.do(f"add={name}")
    for name in ("SW", "LIB"):
        guest.do(f"remove={name}")
    for name in ("MON", "SN", "EN"):
        guest.do(f"add={name}")
    names = {device.segment_name: device.name for device in guest.kernel.dcssblk.devices.values()}
    assert names == {"EW": "dcssblk2", "FAR": "dcssblk3", "MON": "dcssblk0", "SN": "dcssblk1", "EN": "dcssblk4"}


def test_4_block_size(guest: Guest) -> None:
    guest.do("add=LIB")
    assert guest.device("LIB").logical_block_size_bytes == 4096


def test_4_first_name(guest: Guest) -> None:
    guest.do("add=THIRD:LIB:MORE")
    device = guest.device("THIRD")
    assert (device.start, device.size_bytes) == (0x20000000, 3 * MIB)
    assert guest.show("THIRD/seglist") == "THIRD\nLIB\nMORE\n"


def test_4_open(guest: Guest) -> None:
    guest.do("add=LIB")
    for count in (1, 2):
        guest.do("open LIB")
        assert guest.device("LIB").use_count == count
    guest.do("close LIB")
    assert guest.device("LIB").use_count == 1


def test_4_save_pending_shows(guest: Guest) -> None:
    for step in ("add=EW", "open EW", "EW/save=1"):
        guest.do(step)
    assert guest.show("EW/save") == "1\n"
    guest.do("close EW")
    assert guest.show("EW/save") == "0\n"


def test_4_save_content(guest: Guest) -> None:
    guest.do("add=EW:EN")
    device = guest.device("EW")
    opened = device.open()
    device.write(opened, 0, guest.page(b"edition"), PAGE_SIZE)
    guest.do("EW/save=1")
    packets = guest.kernel.calls.packets  # type: ignore[attr-defined]
    before = len(packets)
    device.release(opened)
    commands = [packet[40:].decode("cp037") for packet in packets[before:]]
    assert commands == ["DEFSEG EW 30000-300FF EW", "SAVESEG EW"]
    guest.do("remove=EW")
    guest.do("add=EW")
    view = guest.device("EW").direct_access(guest.device("EW").open(), 0, PAGE_SIZE).view()
    assert bytes(view[:7]) == b"edition"


def test_4_shared_eagain(guest: Guest) -> None:
    """Another user of the guest keeps a member loaded: dcssblk goes on as if it had been reloaded."""
    guest.do("add=LIB:MORE")
    guest.kernel.extmem.segment_load("MORE", do_nonshared=False)
    before = guest.log()
    guest.do("LIB/shared=0")
    assert guest.log()[len(before) :] == ["warn extmem: DCSS MORE is in use and cannot be reloaded"]
    assert guest.show("LIB/shared") == "0\n"
    device = guest.device("LIB")
    assert device.read_only is False
    opened = device.open()
    device.write(opened, 0, guest.page(b"mine"), PAGE_SIZE)
    with pytest.raises(KernelError, match="protection exception") as caught:  # Linux's kernel stops here
        device.write(opened, SECTORS - 8, guest.page(pages=2), 2 * PAGE_SIZE)
    assert caught.value.errno == EIO


def names_of(guest: Guest) -> dict[str, tuple[str, str]]:
    devices = guest.kernel.dcssblk.devices.values()
    return {
        device.name: (guest.show(f"{device.segment_name}/seglist"), guest.show(f"{device.segment_name}/shared"))
        for device in devices
    }


@pytest.mark.parametrize(
    ("fact", "parameter", "devices"),
    [
        (
            "4-segments",
            "lib,more:third,sw(local)",
            {"dcssblk0": ("LIB\n", "1\n"), "dcssblk1": ("MORE\nTHIRD\n", "1\n"), "dcssblk2": ("SW\n", "0\n")},
        ),
        ("4-segments-local", "more:lib(local)", {"dcssblk0": ("MORE\nLIB\n", "0\n")}),
        ("4-segments-local", "lib(local)x,more", {"dcssblk0": ("LIB\n", "0\n"), "dcssblk1": ("MORE\n", "1\n")}),
        ("4-segments-local", "lib(LOCAL),more", {"dcssblk0": ("LIB\n", "1\n"), "dcssblk1": ("MORE\n", "1\n")}),
        ("4-segments-local", "lib(local,more", {"dcssblk0": ("LIB\n", "1\n"), "dcssblk1": ("MORE\n", "1\n")}),
        ("4-segments-failures", "nosuch(local),lib,,LIB,toolongname,more:", {"dcssblk0": ("LIB\n", "1\n")}),
        ("4-segments-failures", "mon(local),lib", {"dcssblk0": ("MON\n", "1\n"), "dcssblk1": ("LIB\n", "1\n")}),
        ("4-segments", "", {}),
        ("4-segments-length", "lib" + 396 * ",", {"dcssblk0": ("LIB\n", "1\n")}),
    ],
)
def test_segments(guest: Guest, fact: str, parameter: str, devices: dict[str, tuple[str, str]]) -> None:
    guest.define(parameter)
    guest.kernel.dcssblk.load_module(parameter)
    assert names_of(guest) == devices, fact
    assert not [line for line in guest.log() if "segments" in line]


def test_4_segments_too_long(guest: Guest) -> None:
    guest.define("lib")
    guest.kernel.dcssblk.load_module("lib" + 397 * ",")
    assert names_of(guest) == {}
    assert guest.log() == ["err dcssblk.segments: string doesn't fit in 399 chars."]
