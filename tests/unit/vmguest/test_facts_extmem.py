"""docs/facts.md, section 3: extmem.c's order of checks, errno and messages; the row's name is its id there."""

from collections.abc import Callable
from errno import EAGAIN, EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, ERANGE
from typing import NamedTuple

import pytest
from guest_harness import definition, fill_with, guest_kernel

from dcss.abi.extmem import SegmentType
from dcss.cp.control import ControlProgram
from dcss.errors import KernelError
from vmguest import extmem as driver
from vmguest.extmem import WARNINGS, Extmem
from vmguest.kernel import Kernel

SEVEN = ",".join(f"{0x50000 + i * 256:X}-{0x500FF + i * 256:X} EW" for i in range(7))
SEGMENTS = {
    "LIB": "20000-2007F SR",
    "NEAR": "20080-200FF SR",
    "LIBRARIE": "30000-300FF SR",
    "LOW": "00300-003FF SR",
    "SEVEN": SEVEN,
    "HOLE": "60000-600FF EW,60200-602FF EN",
    "MIXED": "70000-700FF SR,70100-701FF SN",
    "EWEN": "80000-800FF EW,80100-801FF EN",
}
LOADED = "extmem: DCSS {} of range {:016x} to {:016x} and type {} loaded "


@pytest.fixture
def cp(control_program: ControlProgram) -> ControlProgram:
    for name, words in SEGMENTS.items():
        control_program.publish(definition(name, words), fill_with(name.encode()))
    return control_program


def load(name: str, *, do_nonshared: bool = False) -> Callable[[Extmem], object]:
    return lambda extmem: extmem.segment_load(name, do_nonshared=do_nonshared)


def modify(name: str, *, do_nonshared: bool) -> Callable[[Extmem], object]:
    return lambda extmem: extmem.segment_modify_shared(name, do_nonshared=do_nonshared)


class Refused(NamedTuple):
    """What was done before, the call that fails, its errno, and the last line of the log, None for no line of it."""

    fact: str
    before: tuple[Callable[[Extmem], object], ...]
    call: Callable[[Extmem], object]
    errno: int
    log: str | None = None


REFUSED = (
    Refused("3-2-other-mode", (load("LIB"),), load("LIB", do_nonshared=True), EPERM),
    Refused("3-3-not-found", (), load("NOSUCH"), ENOENT, "Querying a DCSS type failed with rc=44"),
    Refused("3-3-seven-ranges", (), load("SEVEN"), EOPNOTSUPP),
    Refused("3-3-ranges-with-a-hole", (), load("HOLE"), EOPNOTSUPP),
    Refused("3-3-ranges-of-other-types", (), load("MIXED"), EOPNOTSUPP),
    Refused("3-4-same-megabyte", (load("LIB"),), load("NEAR"), EBUSY),
    Refused("3-6-in-storage", (), load("LOW"), ENOSPC),
    Refused("3-modify-unknown", (), modify("LIB", do_nonshared=True), EINVAL),
    Refused(
        "3-modify-in-use",
        (load("LIB"), load("LIB")),
        modify("LIB", do_nonshared=True),
        EAGAIN,
        "DCSS LIB is in use and cannot be reloaded",
    ),
)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.fact)
def test_what_is_refused(cp: ControlProgram, row: Refused) -> None:
    with guest_kernel(cp) as kernel:
        for call in row.before:
            call(kernel.extmem)
        before = len(kernel.log.messages())
        held = {name: segment.users for name, segment in kernel.extmem._segments.items()}
        with pytest.raises(KernelError) as caught:
            row.call(kernel.extmem)
        assert caught.value.errno == row.errno
        assert kernel.log.messages()[before:] == ([] if row.log is None else [f"extmem: {row.log}"])
        assert {name: segment.users for name, segment in kernel.extmem._segments.items()} == held


def test_3_1_names_are_upper_case_and_eight_characters(cp: ControlProgram) -> None:
    with guest_kernel(cp) as kernel:
        assert kernel.extmem.segment_load("libraries", do_nonshared=False).name == "LIBRARIE"


def test_3_5_beyond_what_the_kernel_maps(cp: ControlProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "VMEM_MAX_PHYS", 0x2007FFFF)
    with guest_kernel(cp) as kernel:
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_load("LIB", do_nonshared=False)
        assert caught.value.errno == ERANGE
        kernel.extmem.segment_warning(caught.value, "LIB")
        assert kernel.log.messages("err") == [
            "extmem: DCSS LIB exceeds the kernel mapping range (537395199) and cannot be loaded"
        ]


def test_3_8_a_load_that_cp_refuses(cp: ControlProgram) -> None:
    """Code 45: not in the guest's namesave; all codes but 44 are EIO."""
    cp.execute("DEFSEG SECRET 90000-900FF SR RSTD")
    cp.execute("SAVESEG SECRET")
    with guest_kernel(cp) as kernel:
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_load("SECRET", do_nonshared=False)
        assert caught.value.errno == EIO
        assert kernel.log.messages() == ["extmem: Loading DCSS SECRET failed with rc=45"]
        assert kernel.extmem.segments() == []


@pytest.mark.parametrize("kind", [each for each in SegmentType if each is not SegmentType.EWEN])
def test_3_9_the_type_comes_back(control_program: ControlProgram, kind: SegmentType) -> None:
    control_program.publish(definition("KIND", f"20000-200FF {kind.name}"), lambda _: None)
    with guest_kernel(control_program) as kernel:
        assert kernel.extmem.segment_load("KIND", do_nonshared=False).type is kind
        assert kernel.extmem.segment_type("KIND") is kind
        assert kernel.log.messages("info") == [
            LOADED.format("KIND", 0x20000000, 0x200FFFFF, kind.name) + "in shared access mode"
        ]


def test_3_9_ew_and_en_are_mixed(cp: ControlProgram) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("EWEN", do_nonshared=True)
        assert kernel.extmem.segment_type("EWEN") is SegmentType.EWEN
        assert kernel.log.messages("info") == [
            LOADED.format("EWEN", 0x80000000, 0x801FFFFF, "EW/EN-MIXED") + "as exclusive-writable"
        ]


def test_3_2_the_same_mode_counts_users(cp: ControlProgram) -> None:
    with guest_kernel(cp) as kernel:
        first = kernel.extmem.segment_load("LIB", do_nonshared=False)
        assert kernel.extmem.segment_load("LIB", do_nonshared=False) is first
        assert first.users == 2
        kernel.extmem.segment_unload("LIB")
        assert cp.users("LIB") == 1
        kernel.extmem.segment_unload("LIB")
        assert cp.users("LIB") == 0


def test_3_modify_that_fails_drops_the_segment(cp: ControlProgram) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("LIB", do_nonshared=False)
        cp.execute("PURGE NSS NAME LIB")
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_modify_shared("LIB", do_nonshared=True)
        assert caught.value.errno == ENOENT
        assert kernel.log.messages("warn") == ["extmem: Reloading DCSS LIB failed with rc=44"]
        assert kernel.extmem.segments() == []
        kernel.extmem.segment_unload("LIB")
        assert kernel.log.messages("err") == ["extmem: Unloading unknown DCSS LIB failed"]


class Save(NamedTuple):
    """What the guest may and has, the CP commands that segment_save gives, and what it logs."""

    fact: str
    change: Callable[[Kernel, ControlProgram], object]
    commands: tuple[str, ...]
    log: tuple[str, ...]


def _as_class_g(_: Kernel, cp: ControlProgram) -> None:
    cp.guests["LINUX"].privileges = frozenset("G")


def _without_storage(_: Kernel, cp: ControlProgram) -> None:
    cp.guests["LINUX"].dump = None


DEFSEG = "DEFSEG EWEN 80000-800FF EW 80100-801FF EN"
SAVES = (
    Save("3-save", lambda *_: None, (DEFSEG, "SAVESEG EWEN"), ()),
    Save(
        "3-save-defseg-refused",
        _as_class_g,
        (DEFSEG,),
        ("extmem: Saving a DCSS failed with DEFSEG response code 1",),
    ),
    Save(
        "3-save-saveseg-refused",
        _without_storage,
        (DEFSEG, "SAVESEG EWEN"),
        ("extmem: Saving a DCSS failed with SAVESEG response code 9005",),
    ),
)


@pytest.mark.parametrize("row", SAVES, ids=lambda row: row.fact)
def test_saving(cp: ControlProgram, row: Save) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("EWEN", do_nonshared=True)
        row.change(kernel, cp)
        packets = kernel.calls.packets  # type: ignore[attr-defined]
        before = len(packets)
        kernel.extmem.segment_save("ewen")
        assert tuple(packet[40:].decode("cp037") for packet in packets[before:]) == row.commands
        assert tuple(kernel.log.messages("err")) == row.log


def test_3_save_of_an_unknown_segment(cp: ControlProgram) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_save("NOSUCH")
        assert kernel.log.messages("err") == ["extmem: Saving unknown DCSS NOSUCH failed"]


def test_3_save_loses_options(cp: ControlProgram) -> None:
    cp.execute("DEFSEG OPTIONS 90000-900FF EW LOADNSHR SECURE")
    cp.execute("SAVESEG OPTIONS")
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("OPTIONS", do_nonshared=False)
        kernel.extmem.segment_save("OPTIONS")
    (row,) = cp.execute("QUERY NSS NAME OPTIONS").data or []
    assert row["attributes"] == []


TEXTS = {
    ENOENT: "DCSS X cannot be loaded or queried",
    ENOSYS: "DCSS X cannot be loaded or queried without z/VM",
    EIO: "Loading or querying DCSS X resulted in a hardware error",
    EOPNOTSUPP: "DCSS X has multiple page ranges and cannot be loaded or queried",
    ENOSPC: "DCSS X overlaps with used storage and cannot be loaded",
    EBUSY: "X needs used memory resources and cannot be loaded or queried",
    EPERM: "DCSS X is already loaded in a different access mode",
    ENOMEM: "There is not enough memory to load or query DCSS X",
    ERANGE: f"DCSS X exceeds the kernel mapping range ({512 << 30}) and cannot be loaded",
}


@pytest.mark.parametrize("errno", TEXTS)
def test_3_warning_texts(control_program: ControlProgram, errno: int) -> None:
    with guest_kernel(control_program) as kernel:
        kernel.extmem.segment_warning(KernelError(errno, "why"), "X")
        assert kernel.log.messages("err") == [f"extmem: {TEXTS[errno]}"]


def test_3_every_warning_is_in_the_table() -> None:
    assert set(WARNINGS) == set(TEXTS)
