"""A segment of the YAML whose image decides its size."""

import re
from pathlib import Path

import pytest
from cp_support import control_program

from dcss.abi.ext2 import MAGIC, MAGIC_OFFSET
from dcss.abi.extmem import SegmentType
from dcss.config.load import load_plan
from dcss.config.plan import SegmentPlan, SystemPlan
from dcss.config.sources import Ext2Source
from dcss.errors import ConfigError
from dcss.progress import SilentProgress
from dcss.system.extents import ExtentCache
from dcss.system.planned import plan_segments
from dcss.system.publish import publish_segments


def test_an_image_that_reaches_beyond_the_last_page_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(3 << 20)
        file.seek(MAGIC_OFFSET)
        file.write(MAGIC.to_bytes(2, "little"))
    segment = SegmentPlan(
        name="LIB",
        definition=None,
        start_address=0x7FFFF00000,
        type=SegmentType.SR,
        size_bytes=None,
        image=Ext2Source(image),
        save=False,
        where="test.yaml:1",
    )
    plan = SystemPlan("S", (segment,), (), tmp_path / "test.yaml")
    message = "test.yaml:1: page range 7FFFF00-80001FF SR: wanted pages up to 7FFFFFF"
    with control_program() as cp, pytest.raises(ConfigError, match=re.escape(message)):
        cp.run(publish_segments(cp.cp, plan, SilentProgress(), ExtentCache()))


def test_what_is_wrong_with_all_segments_comes_at_once(tmp_path: Path) -> None:
    config = tmp_path / "plan.yaml"
    config.write_text(
        "segments:\n"
        "  - {name: ONE, at: 0x20000000, image: {files: [/no/such/*, /nor/this]}}\n"
        "  - {name: TWO, at: 0x30000000, size: 4K, image: {files: [/etc/hostname]}}\n"
    )
    with control_program() as cp, pytest.raises(ConfigError) as caught:
        cp.run(publish_segments(cp.cp, load_plan(config), SilentProgress(), ExtentCache()))
    assert [finding.partition(": segment ")[0] for finding in caught.value.findings] == [
        f"{config}:2: segments[0].image.files[0]",
        f"{config}:2: segments[0].image.files[1]",
        f"{config}:3: segments[1].size",
    ]


@pytest.mark.parametrize(("machine", "multiple_bytes"), [({}, 4096), ({"engine": "linux", "arch": "x86_64"}, 2 << 20)])
def test_a_size_that_the_image_decides_fits_the_machines_that_have_it_as_a_device(
    tmp_path: Path, machine: dict[str, str], multiple_bytes: int
) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 4096)
    path = tmp_path / "sized.yaml"
    keys = "".join(f", {key}: {value}" for key, value in machine.items())
    path.write_text(
        f"segments: [{{name: A, at: 0x20000000, image: {{files: [{tmp_path}/file]}}}}]\nguests: [{{name: G{keys}}}]\n"
    )
    (planned,) = plan_segments(load_plan(path).segments, {}, "S")
    assert planned.definition.size_bytes % multiple_bytes == 0
    assert (planned.definition.size_bytes % (2 << 20) == 0) is (multiple_bytes == 2 << 20)
