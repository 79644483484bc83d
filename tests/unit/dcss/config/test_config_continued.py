"""Images that lie over several segments: where these lie, what guests get of them, and what is wrong with some."""

from pathlib import Path

import pytest
from wrong_config_support import WrongConfig

from dcss.abi.extmem import SegmentType
from dcss.config.load import load_plan
from dcss.config.plan import SystemPlan
from dcss.errors import ConfigError

_FIRST = """\
segments:
  - {name: A, at: 0x20000000, size: 1M, image: {directory: /etc}}
"""

WRONG = (
    WrongConfig(
        "gap",
        _FIRST + "  - {name: B, at: 0x20200000, image: {continues: A}}\n",
        (
            "3: segments[1].at: found a start at 0x20200000, 0x100000 bytes behind the end of A, wanted"
            " 0x20100000, where A ends (leave at: out, and it begins there)",
        ),
    ),
    WrongConfig(
        "overlap",
        _FIRST + "  - {name: B, at: 0x20080000, size: 1M, image: {continues: A}}\n",
        (
            "3: segments[1].at: found a start at 0x20080000, 0x80000 bytes before the end of A, wanted"
            " 0x20100000, where A ends (leave at: out, and it begins there)",
        ),
    ),
    WrongConfig(
        "other-type",
        _FIRST + "  - {name: B, type: SW, image: {continues: A}}\n",
        ("3: segments[1].type: found type SW, wanted SR, as A has: one device has one type",),
    ),
    WrongConfig(
        "other-type-defined",
        _FIRST + "  - {name: B, define: [20100-201FF ER], image: {continues: A}}\n",
        ("3: segments[1].define: found type ER, wanted SR, as A has: one device has one type",),
    ),
    WrongConfig(
        "auto",
        "segments:\n  - {name: A, at: 0x20000000, image: {directory: /etc}}\n  - {name: B, image: {continues: A}}\n",
        ("2: segments[0].size: found auto, wanted a size, since the image goes on in B where this one ends",),
    ),
    WrongConfig(
        "unknown",
        _FIRST + "  - {name: B, image: {continues: AA}}\n",
        (
            "3: segments[1].image.continues: found 'AA', wanted a segment of this file whose image goes on here"
            " (did you mean A?)",
        ),
    ),
    WrongConfig(
        "itself",
        _FIRST + "  - {name: B, image: {continues: B}}\n",
        (
            "3: segments[1].image.continues: found 'B', which leads back here, wanted a segment whose image"
            " begins elsewhere",
        ),
    ),
    WrongConfig(
        "circle",
        _FIRST + "  - {name: B, image: {continues: C}}\n  - {name: C, image: {continues: B}}\n",
        (
            "3: segments[1].image.continues: found 'C', which leads back here, wanted a segment whose image"
            " begins elsewhere",
            "4: segments[2].image.continues: found 'B', which leads back here, wanted a segment whose image"
            " begins elsewhere",
        ),
    ),
    WrongConfig(
        "twice",
        _FIRST + "  - {name: B, image: {continues: A}}\n  - {name: C, image: {continues: A}}\n",
        (
            "4: segments[2].image.continues: found 'A' again, wanted each segment continued by one (segment B"
            " continues it) (continue B)",
        ),
    ),
    WrongConfig(
        "no-image",
        "segments:\n  - {name: A, at: 0x20000000, size: 1M}\n  - {name: B, image: {continues: A}}\n",
        ("3: segments[1].image.continues: found segment A, which has no image:, wanted one whose image goes on here",),
    ),
    WrongConfig(
        "save",
        _FIRST + "  - {name: B, save: true, image: {continues: A}}\n",
        (
            "3: segments[1].save: found save: beside continues:, wanted it only beside the image itself, with"
            " which this segment is saved",
        ),
    ),
    WrongConfig(
        "inside-mb",
        "segments:\n  - {name: A, at: 0x20000000, size: 1028K, image: {directory: /etc}}\n  - {name: B, image:"
        " {continues: A}}\nguests: [{name: G}]\n",
        (
            "2: segments[0].size: found an end at 0x20101000, wanted an end at a whole megabyte: B begins there,"
            " and a guest that loads both shares none",
        ),
    ),
    WrongConfig(
        "two-sources",
        _FIRST + "  - {name: B, image: {continues: A, directory: /etc}}\n",
        (
            "3: segments[1].image: found directory and continues, wanted exactly one of files, directory, tar,"
            " debian, ext2, continues",
        ),
    ),
    WrongConfig(
        "offset",
        _FIRST + "  - {name: B, image: {continues: A, offset: 4096, at_least: {files: 1}}}\n",
        (
            "3: segments[1].image.at_least: found at_least: beside continues:, wanted it only beside files:",
            "3: segments[1].image.offset: found offset: beside continues:, wanted it only beside ext2:",
        ),
    ),
)


def _load(tmp_path: Path, text: str) -> SystemPlan:
    path = tmp_path / "demo.yaml"
    path.write_text(text)
    return load_plan(path)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_what_cannot_be_one_device_is_found(wrong: WrongConfig, tmp_path: Path) -> None:
    assert isinstance(wrong.text, str)
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, wrong.text)
    assert caught.value.findings == tuple(f"{tmp_path}/demo.yaml:{finding}" for finding in wrong.findings)


def test_a_segment_that_continues_begins_where_the_one_before_it_ends(tmp_path: Path) -> None:
    plan = _load(
        tmp_path,
        """\
segments:
  - {name: C, image: {continues: B}}
  - {name: A, at: 0x20000000, size: 1M, type: ER, save: true, image: {directory: /etc}}
  - {name: B, size: 3M, image: {continues: A}}
  - {name: D, define: [90000-900FF SR], image: {directory: /etc}}
guests:
  - {name: G}
""",
    )
    segments = {segment.name: segment for segment in plan.segments}
    assert {name: segment.start_address for name, segment in segments.items()} == {
        "A": 0x20000000,
        "B": 0x20100000,
        "C": 0x20400000,
        "D": 0x90000000,
    }
    assert {segments[name].type for name in "ABC"} == {SegmentType.ER}
    assert {segments[name].save for name in "ABC"} == {True}
    assert not segments["D"].save
    assert plan.guests[0].dcssblk == ("A:B:C", "D")


@pytest.mark.parametrize(
    "upper", ["at: 0x20100000", "define: [20100-201FF SR]", "at: 0x20100000, type: SR, size: 1M", "type: SR"]
)
def test_a_segment_may_say_what_follows_anyhow(tmp_path: Path, upper: str) -> None:
    plan = _load(tmp_path, f"{_FIRST}  - {{name: B, {upper}, image: {{continues: A}}}}\n")
    assert [segment.start_address for segment in plan.segments] == [0x20000000, 0x20100000]
    assert [segment.continues for segment in plan.segments] == [None, "A"]


def test_a_device_that_lacks_a_segment_of_its_image_is_warned_of(tmp_path: Path) -> None:
    text = f"{_FIRST}  - {{name: B, image: {{continues: A}}}}\nguests:\n"
    text += "  - {name: G, dcssblk: [A, 'B(local)']}\n  - {name: H, dcssblk: ['B:A']}\n  - {name: I}\n"
    found = "has a part of the image over A:B, so that most of its files cannot be read (one device of all: A:B)"
    assert _load(tmp_path, text).warnings == (
        f"{tmp_path}/demo.yaml:5: guests[0].dcssblk[0]: 'A' {found}",
        f"{tmp_path}/demo.yaml:5: guests[0].dcssblk[1]: 'B(local)' {found}",
    )


def test_mounts_know_the_devices_of_a_guest_without_dcssblk(tmp_path: Path) -> None:
    text = _FIRST + "  - {name: B, image: {continues: A}}\nguests: [{name: G, mounts: [{device: dcssblk1, at: /}]}]\n"
    with pytest.raises(ConfigError, match=r"mounts\[0\].device: found 'dcssblk1', wanted one of dcssblk0"):
        _load(tmp_path, text)
