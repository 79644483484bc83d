"""docs/facts.md, section 3: extmem.c's order of checks, errno and messages; the row's name is its id there."""

from collections.abc import Callable
from errno import EAGAIN, EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, ERANGE
from typing import NamedTuple

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel

from dcss.abi.diag64 import Diag64
from dcss.abi.extmem import SegmentName, SegmentType
from dcss.abi.hypercall import Request
from dcss.abi.page import PAGE_SIZE
from dcss.cp.diag import diag64
from dcss.errors import KernelError
from vmguest import extmem as driver
from vmguest.dcss_diag import DcssDiag
from vmguest.extmem import WARNINGS, Extmem
from vmguest.kernel import Kernel
from vmguest.resource import Resource, Resources

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
    "SIX": ",".join(f"{0x40000 + i * 256:X}-{0x400FF + i * 256:X} EN" for i in range(6)),
    "OVER": "20040-200FF SR",
    "HIGH": "80000-800FF SR",
}
LOADED = "extmem: DCSS {} of range {:016x} to {:016x} and type {} loaded "


@pytest.fixture
def cp(control_program: BlockingCp) -> BlockingCp:
    for name, words in SEGMENTS.items():
        control_program.publish(definition(name, words), fill_with(name.encode()))
    return control_program


def load(name: str, *, do_nonshared: bool = False) -> Callable[[Extmem], object]:
    return lambda extmem: extmem.segment_load(name, do_nonshared=do_nonshared)


def modify(name: str, *, do_nonshared: bool) -> Callable[[Extmem], object]:
    return lambda extmem: extmem.segment_modify_shared(name, do_nonshared=do_nonshared)


def take(start: int, end: int) -> Callable[[Extmem], object]:
    """Have another driver of the guest request a range of absolute addresses."""
    return lambda extmem: extmem.iomem.request(Resource("other", start, end))


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
    Refused("3-4-same-megabyte", (load("LIB", do_nonshared=True),), load("OVER"), EBUSY),
    Refused("3-6-in-storage", (), load("LOW"), ENOSPC),
    Refused("3-7-taken", (take(0x20010000, 0x20010FFF),), load("LIB"), EBUSY),
    Refused("3-7-taken", (take(0x2007FFFF, 0x2008FFFF),), load("LIB"), EBUSY),
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
def test_what_is_refused(cp: BlockingCp, row: Refused) -> None:
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


def test_3_1_names_are_upper_case_and_eight_characters(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        assert kernel.extmem.segment_load("libraries", do_nonshared=False).name == "LIBRARIE"


def test_3_1_any_name_goes_to_cp(cp: BlockingCp) -> None:
    """Blanks in front and characters that no name has are CP's to refuse; blanks behind are what pads a name."""
    with guest_kernel(cp) as kernel:
        for name in (" LIB", "L-B", "\xdf", "\ufffd", ""):
            with pytest.raises(KernelError) as caught:
                kernel.extmem.segment_load(name, do_nonshared=False)
            assert caught.value.errno == ENOENT
            assert kernel.log.messages("warn")[-1] == "extmem: Querying a DCSS type failed with rc=44"
        segment = kernel.extmem.segment_load("lib  ", do_nonshared=False)
        assert kernel.extmem.segment_load("LIB", do_nonshared=False) is segment


def test_3_3_six_ranges(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        segment = kernel.extmem.segment_load("SIX", do_nonshared=False)
        assert (segment.start, segment.end, segment.type) == (0x40000000, 0x405FFFFF, SegmentType.EWEN)
        assert [each.first_page for each in segment.ranges] == list(range(0x40000, 0x40600, 0x100))


def test_3_type_loads_nothing(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        assert kernel.extmem.segment_type("lib") is SegmentType.SR
        assert cp.users("LIB") == 0
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_type("SEVEN")
        assert caught.value.errno == EOPNOTSUPP


def test_3_order_of_what_is_checked(cp: BlockingCp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment for which every check fails: the first to speak is the megabyte, then the range, then storage."""
    cp.publish(definition("EVIL", "00300-200FF SR"), lambda _: None)
    with guest_kernel(cp) as kernel:
        extmem = kernel.extmem
        extmem.segment_load("LIB", do_nonshared=False)
        monkeypatch.setattr(driver, "VMEM_MAX_PHYS", 0x20000000)
        with pytest.raises(KernelError, match="shares a megabyte"):
            extmem.segment_load("EVIL", do_nonshared=False)
        extmem.segment_unload("LIB")
        extmem.iomem.request(Resource("other", 0x1F000000, 0x1F000FFF))
        with pytest.raises(KernelError, match="the mapping range"):
            extmem.segment_load("EVIL", do_nonshared=False)
        monkeypatch.setattr(driver, "VMEM_MAX_PHYS", 0x30000000)
        with pytest.raises(KernelError, match="real storage ends"):
            extmem.segment_load("EVIL", do_nonshared=False)


def test_3_7_the_resource_has_the_segments_name(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        before = list(kernel.extmem.iomem)
        kernel.extmem.segment_load("lib", do_nonshared=False)
        kernel.extmem.segment_load("ewen", do_nonshared=False)
        added = [resource for resource in kernel.extmem.iomem if resource not in before]
        assert [(r.name, r.start, r.end) for r in added] == [
            ("LIB      (DCSS)", 0x20000000, 0x2007FFFF),
            ("EWEN     (DCSS)", 0x80000000, 0x801FFFFF),
        ]
        for name in ("LIB", "EWEN"):
            kernel.extmem.segment_unload(name)
        assert list(kernel.extmem.iomem) == before


READ_ONLY = {"SR": (True, False), "ER": (True, False), "SC": (True, True)}  # loaded shared, and non-shared


@pytest.mark.parametrize("kind", [each for each in SegmentType if each is not SegmentType.EWEN])
def test_3_7_read_only_resources(control_program: BlockingCp, kind: SegmentType) -> None:
    control_program.publish(definition("KIND", f"20000-200FF {kind.name}"), lambda _: None)
    with guest_kernel(control_program) as kernel:
        extmem = kernel.extmem
        for do_nonshared in (False, True):
            resource = extmem.segment_load("KIND", do_nonshared=do_nonshared).resource
            assert resource.read_only is READ_ONLY.get(kind.name, (False, False))[do_nonshared]
            extmem.segment_unload("KIND")
        extmem.segment_load("KIND", do_nonshared=False)
        assert extmem.segment_modify_shared("KIND", do_nonshared=True).resource.read_only is False
        shared = extmem.segment_modify_shared("KIND", do_nonshared=False).resource
        assert shared.read_only is (kind.name in {"SR", "ER"})  # SC gets its flag at the first load only
        assert shared in list(extmem.iomem)


def test_3_5_beyond_what_the_kernel_maps(cp: BlockingCp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "VMEM_MAX_PHYS", 0x2007FFFF)
    with guest_kernel(cp) as kernel:
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_load("LIB", do_nonshared=False)
        assert caught.value.errno == ERANGE
        kernel.extmem.segment_warning(caught.value, "LIB")
        assert kernel.log.messages("err") == [
            "extmem: DCSS LIB exceeds the kernel mapping range (537395199) and cannot be loaded"
        ]


def test_3_8_a_load_that_cp_refuses(cp: BlockingCp) -> None:
    """Code 45: not in the guest's namesave; all codes but 44 are EIO. The segment is purged, and its place free."""
    cp.execute("DEFSEG SECRET 98000-980FF SR RSTD")
    cp.execute("SAVESEG SECRET")
    with guest_kernel(cp) as kernel:
        before = list(kernel.extmem.iomem)
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_load("SECRET", do_nonshared=False)
        assert caught.value.errno == EIO
        assert kernel.log.messages() == ["extmem: Loading DCSS SECRET failed with rc=45"]
        assert kernel.calls.functions()[-3:] == [Diag64.SEGEXTX, Diag64.LOADSHRX, Diag64.PURGESEG]  # type: ignore[attr-defined]
        assert kernel.extmem.segments() == []
        assert list(kernel.extmem.iomem) == before


def test_3_8_gone_between_query_and_load(cp: BlockingCp, monkeypatch: pytest.MonkeyPatch) -> None:
    with guest_kernel(cp) as kernel:
        query = DcssDiag.query

        def query_then_purge(diag: DcssDiag, name: bytes) -> object:
            found = query(diag, name)
            cp.execute("PURGE NSS NAME LIB")
            return found

        monkeypatch.setattr(DcssDiag, "query", query_then_purge)
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_load("LIB", do_nonshared=True)
        assert caught.value.errno == ENOENT
        assert kernel.log.messages("warn") == ["extmem: Loading DCSS LIB failed with rc=44"]


def test_3_8_moved_meanwhile(cp: BlockingCp) -> None:
    """CP loads what has the name now; where that lies elsewhere it is undone."""
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("LIB", do_nonshared=False)
        cp.publish(definition("LIB", "A0000-A00FF SR"), lambda _: None)
        with pytest.raises(KernelError, match="moved from 0x20000000 to 0xa0000000") as caught:
            kernel.extmem.segment_modify_shared("LIB", do_nonshared=True)
        assert caught.value.errno == EIO
        assert kernel.extmem.segments() == []
        assert cp.loaded("LINUX") == {}


def test_3_enomem(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        kernel.machine.storage.allocate(kernel.machine.storage.free_bytes // PAGE_SIZE)
        for call in (load("LIB"), lambda extmem: extmem.segment_type("LIB")):
            with pytest.raises(KernelError) as caught:
                call(kernel.extmem)
            assert caught.value.errno == ENOMEM


def test_3_probe_on_first_use(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        assert kernel.calls.packets == []  # type: ignore[attr-defined]
        for name in ("LIB", "EWEN"):
            kernel.extmem.segment_load(name, do_nonshared=False)
        packets = [Request.unpack(packet) for packet in kernel.calls.packets]  # type: ignore[attr-defined]
        assert [packet.ry for packet in packets] == [
            Diag64.FINDSEGX,
            Diag64.SEGEXTX,
            Diag64.LOADSHRX,
            Diag64.SEGEXTX,
            Diag64.LOADSHRX,
        ]
        assert packets[0].block[:6] == b"dummy\0"


@pytest.fixture
def old_cp(cp: BlockingCp, monkeypatch: pytest.MonkeyPatch) -> BlockingCp:
    """A CP from before the 64-bit function codes: its own handler without them."""
    known = {code: function for code, function in diag64._FUNCTIONS.items() if code <= Diag64.SEGEXT}
    monkeypatch.setattr(diag64, "_FUNCTIONS", known)
    return cp


def test_3_probe_of_an_old_cp(old_cp: BlockingCp) -> None:
    with guest_kernel(old_cp) as kernel:
        segment = kernel.extmem.segment_load("SIX", do_nonshared=False)
        assert (segment.start, segment.end, segment.type) == (0x40000000, 0x405FFFFF, SegmentType.EWEN)
        assert [each.first_page for each in segment.ranges] == list(range(0x40000, 0x40600, 0x100))
        kernel.extmem.segment_modify_shared("SIX", do_nonshared=True)
        kernel.extmem.segment_unload("SIX")
        assert kernel.calls.functions() == [  # type: ignore[attr-defined]
            Diag64.FINDSEGX,
            Diag64.SEGEXT,
            Diag64.LOADNOLY,
            Diag64.PURGESEG,
            Diag64.LOADNSHR,
            Diag64.PURGESEG,
        ]


OLD_REFUSED = (
    Refused("3-3-other-code", (), load("HIGH"), EIO, "Querying a DCSS type failed with rc=48"),
    Refused("3-3-seven-ranges", (), load("SEVEN"), EOPNOTSUPP),
    Refused("3-4-old-cp", (load("LIB"),), load("NEAR"), EIO, "Loading DCSS NEAR failed with rc=47"),
    Refused("3-6-over-dcss", (load("LIB"),), load("OVER"), ENOSPC),
)


@pytest.mark.parametrize("row", OLD_REFUSED, ids=lambda row: row.fact)
def test_what_is_refused_with_an_old_cp(old_cp: BlockingCp, row: Refused) -> None:
    """Without the 64-bit codes there is no check of megabytes (4): what overlaps is found by the mapping, or by CP."""
    test_what_is_refused(old_cp, row)


@pytest.mark.parametrize("kind", [each for each in SegmentType if each is not SegmentType.EWEN])
def test_3_9_the_type_comes_back(control_program: BlockingCp, kind: SegmentType) -> None:
    control_program.publish(definition("KIND", f"20000-200FF {kind.name}"), lambda _: None)
    with guest_kernel(control_program) as kernel:
        assert kernel.extmem.segment_load("KIND", do_nonshared=False).type is kind
        assert kernel.extmem.segment_type("KIND") is kind
        assert kernel.log.messages("info") == [
            LOADED.format("KIND", 0x20000000, 0x200FFFFF, kind.name) + "in shared access mode"
        ]


def test_3_9_ew_and_en_are_mixed(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("EWEN", do_nonshared=True)
        assert kernel.extmem.segment_type("EWEN") is SegmentType.EWEN
        assert kernel.log.messages("info") == [
            LOADED.format("EWEN", 0x80000000, 0x801FFFFF, "EW/EN-MIXED") + "as exclusive-writable"
        ]


def test_3_2_the_same_mode_counts_users(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        first = kernel.extmem.segment_load("LIB", do_nonshared=False)
        assert kernel.extmem.segment_load("LIB", do_nonshared=False) is first
        assert first.users == 2
        kernel.extmem.segment_unload("LIB")
        assert cp.users("LIB") == 1
        kernel.extmem.segment_unload("LIB")
        assert cp.users("LIB") == 0


def test_3_unload_of_an_unknown_segment(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_unload("lib")
        assert kernel.log.messages() == ["extmem: Unloading unknown DCSS lib failed"]
        assert kernel.log.messages("err") == kernel.log.messages()
        assert kernel.calls.packets == []  # type: ignore[attr-defined]


def test_3_modify_to_the_same_mode(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        segment = kernel.extmem.segment_load("LIB", do_nonshared=False)
        kernel.extmem.segment_load("LIB", do_nonshared=False)
        before = len(kernel.calls.packets)  # type: ignore[attr-defined]
        assert kernel.extmem.segment_modify_shared("LIB", do_nonshared=False) is segment
        assert kernel.log.messages("info")[-1] == "extmem: DCSS LIB is already in the requested access mode"
        assert len(kernel.calls.packets) == before  # type: ignore[attr-defined]


def test_3_modify_reloads(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("LIB", do_nonshared=False)
        said = kernel.log.messages()
        for do_nonshared, function in ((True, Diag64.LOADNSRX), (False, Diag64.LOADSHRX)):
            assert kernel.extmem.segment_modify_shared("LIB", do_nonshared=do_nonshared).do_nonshared is do_nonshared
            assert kernel.calls.functions()[-2:] == [Diag64.PURGESEG, function]  # type: ignore[attr-defined]
            assert cp.loaded("LINUX")[SegmentName("LIB")].shared is not do_nonshared
        assert kernel.log.messages() == said


def _purge(cp: BlockingCp) -> None:
    cp.execute("PURGE NSS NAME LIB")


def _restrict(cp: BlockingCp) -> None:
    _purge(cp)
    cp.execute("DEFSEG LIB 20000-2007F SR RSTD")
    cp.execute("SAVESEG LIB")


@pytest.mark.parametrize(("change", "errno", "code"), [(_purge, ENOENT, 44), (_restrict, EIO, 45)])
def test_3_modify_that_fails_drops_the_segment(
    cp: BlockingCp, change: Callable[[BlockingCp], None], errno: int, code: int
) -> None:
    with guest_kernel(cp) as kernel:
        before = list(kernel.extmem.iomem)
        kernel.extmem.segment_load("LIB", do_nonshared=False)
        change(cp)
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_modify_shared("LIB", do_nonshared=True)
        assert caught.value.errno == errno
        assert kernel.log.messages("warn") == [f"extmem: Reloading DCSS LIB failed with rc={code}"]
        assert kernel.calls.functions()[-3:] == [Diag64.PURGESEG, Diag64.LOADNSRX, Diag64.PURGESEG]  # type: ignore[attr-defined]
        assert kernel.extmem.segments() == []
        assert list(kernel.extmem.iomem) == before
        kernel.extmem.segment_unload("LIB")
        assert kernel.log.messages("err") == ["extmem: Unloading unknown DCSS LIB failed"]


def test_3_modify_loses_its_place(cp: BlockingCp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody takes the range between its release and its request."""
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("LIB", do_nonshared=False)
        release = Resources.release

        def release_and_lose(resources: Resources, resource: Resource) -> None:
            release(resources, resource)
            resources.request(Resource("other", resource.start, resource.start))

        monkeypatch.setattr(Resources, "release", release_and_lose)
        with pytest.raises(KernelError) as caught:
            kernel.extmem.segment_modify_shared("LIB", do_nonshared=True)
        assert caught.value.errno == EBUSY
        assert kernel.log.messages("warn") == [
            "extmem: DCSS LIB overlaps with used memory resources and cannot be reloaded"
        ]
        assert kernel.extmem.segments() == []
        assert cp.loaded("LINUX") == {}


class Save(NamedTuple):
    """What the guest may and has, the CP commands that segment_save gives, and what it logs."""

    fact: str
    change: Callable[[Kernel, BlockingCp], object]
    commands: tuple[str, ...]
    log: tuple[str, ...]


def _as_class_g(_: Kernel, cp: BlockingCp) -> None:
    cp.machines["LINUX"].privileges = frozenset("G")


def _without_storage(_: Kernel, cp: BlockingCp) -> None:
    cp.machines["LINUX"].dump = None


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
def test_saving(cp: BlockingCp, row: Save) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_load("EWEN", do_nonshared=True)
        row.change(kernel, cp)
        packets = kernel.calls.packets  # type: ignore[attr-defined]
        before = len(packets)
        kernel.extmem.segment_save("ewen")
        assert tuple(packet[40:].decode("cp037") for packet in packets[before:]) == row.commands
        assert tuple(kernel.log.messages("err")) == row.log


def test_3_save_of_an_unknown_segment(cp: BlockingCp) -> None:
    with guest_kernel(cp) as kernel:
        kernel.extmem.segment_save("NOSUCH")
        assert kernel.log.messages("err") == ["extmem: Saving unknown DCSS NOSUCH failed"]


def test_3_save_loses_options(cp: BlockingCp) -> None:
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
def test_3_warning_texts(control_program: BlockingCp, errno: int) -> None:
    with guest_kernel(control_program) as kernel:
        kernel.extmem.segment_warning(KernelError(errno, "why"), "X")
        assert kernel.log.messages("err") == [f"extmem: {TEXTS[errno]}"]


def test_3_every_warning_is_in_the_table() -> None:
    assert set(WARNINGS) == set(TEXTS)
