"""Guests and segments that cannot go together, told before anything is made."""

import pytest

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName
from dcss.config.plan import GuestPlan, LinuxSettings, ProcessSettings
from dcss.errors import ConfigError
from dcss.system.address_layout import check_address_layout


def segments(**words: str) -> dict[SegmentName, SegmentDefinition]:
    return {
        SegmentName(name): SegmentDefinition(SegmentName(name), (PageRange.parse(word),))
        for name, word in words.items()
    }


def guest(*dcssblk: str, storage_bytes: int = 64 << 20, name: str = "G") -> GuestPlan:
    return GuestPlan(name, ProcessSettings(), storage_bytes, dcssblk, (), "shared", (), "demo.yaml:9")


def test_sound_places_pass() -> None:
    check_address_layout(segments(A="4000-40FF SR", B="4100-41FF SR"), [guest("A:B"), guest("A(local)"), guest()])


def test_findings_are_all_told_and_once_for_an_entry() -> None:
    with pytest.raises(ConfigError) as caught:
        check_address_layout(
            segments(A="3FFF-40FF SR", B="40FF-41FF SR"), [guest("A", "B", name="G01"), guest("A", "B", name="G02")]
        )
    assert [finding.replace("G02", "G01") for finding in caught.value.findings] == [
        "demo.yaml:9: guest G01: found storage up to 0x4000000, wanted at most 0x3fff000, where segment A begins",
        "demo.yaml:9: guest G01: found segments A and B in one megabyte, wanted them apart, since it loads both",
    ]


@pytest.mark.parametrize("device", ["A:B", "B:A"])
def test_a_device_of_segments_that_do_not_adjoin_is_refused(device: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_address_layout(segments(A="20000-200FF SR", B="20200-202FF SW"), [guest(device)])
    where = f"demo.yaml:9: guest G: dcssblk: {device}:"
    assert caught.value.findings == (
        f"{where} found B at 0x20200000, wanted it at 0x20100000, where A ends, since the segments of a device adjoin",
        f"{where} found A of type SR and B of SW, wanted one type in a device, or EW and EN",
    )


def test_a_device_may_mix_the_types_that_the_driver_mixes() -> None:
    check_address_layout(segments(A="20000-200FF EW", B="20100-202FF EN"), [guest("A:B(local)")])
    with pytest.raises(ConfigError, match="found A of type ER and B of EN"):
        check_address_layout(segments(A="20000-200FF ER", B="20100-202FF EN"), [guest("A:B")])


def test_segments_that_no_guest_loads_together_may_overlap() -> None:
    check_address_layout(segments(A="4000-40FF SR", B="4080-41FF SR"), [guest("A"), guest("B")])


def test_a_device_of_an_x86_64_machine_has_whole_two_mebibytes() -> None:
    machine = GuestPlan("X", LinuxSettings(arch="x86_64"), 64 << 20, ("A", "B"), (), "shared", (), "demo.yaml:9")
    sizes = segments(A="4000-41FF SR", B="4200-42FF SR")
    with pytest.raises(
        ConfigError, match="guest X: found segment B of 1048576 bytes, wanted a multiple of 2097152"
    ) as caught:
        check_address_layout(sizes, [machine])
    assert len(caught.value.findings) == 1
    check_address_layout(sizes, [guest("A", "B")])
