"""The images that are exported: each is one device of a guest, over one segment or several."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dcss.abi.extmem import MAX_DCSS_ADDR, MAX_DCSS_BYTES, PageRange, SegmentName, SegmentType
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.config.load import load_plan
from dcss.config.plan import SegmentPlan, image_groups
from dcss.config.sources import Ext2Source
from dcss.cp.spool.definitions import saved_definitions
from dcss.errors import ConfigError, ImageError
from dcss.image.build import ImagePlan, plan_image
from dcss.image.opened import image_source, mounted
from dcss.image.sources.kind import source_of
from dcss.system.planned import PlannedSegment, plan_segments

ALIGNMENT_BYTES: Final = 2 << 20
"""Of addresses and sizes: what DAX on Linux wants of a DCSS (6.18 and later) and of a virtio-pmem device."""
PART_BYTES: Final = MAX_DCSS_BYTES // ALIGNMENT_BYTES * ALIGNMENT_BYTES
FIRST_ADDRESS: Final = 256 << 20
CONFIG_SUFFIXES: Final = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class PlacedRange:
    """One segment: where it lies on z/VM, in whole units of `ALIGNMENT_BYTES`."""

    name: str
    address: int
    size_bytes: int
    type: SegmentType = SegmentType.SR

    @property
    def defseg(self) -> str:
        """CP's command that defines it."""
        first_page = self.address >> PAGE_SHIFT
        return (
            f"DEFSEG {self.name} {PageRange(first_page, first_page + (self.size_bytes >> PAGE_SHIFT) - 1, self.type)}"
        )


@dataclass(frozen=True, slots=True)
class ExportedDevice:
    """An image and the segments that it lies over; its file is padded to `size_bytes`."""

    segments: tuple[PlacedRange, ...]
    image: ImagePlan

    @property
    def name(self) -> str:
        """The first segment's name, after which files are called."""
        return self.segments[0].name

    @property
    def image_name(self) -> str:
        """The name of the image's file."""
        return f"{self.name}.img"

    @property
    def size_bytes(self) -> int:
        """Bytes of the image's file: those of the image, rounded up."""
        return padded(self.image.size_bytes)


def padded(size_bytes: int) -> int:
    """Return a size in whole units of `ALIGNMENT_BYTES`."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def exported_devices(
    sources: Sequence[Path], *, name: str | None, address: int | None, notes: list[str], part_bytes: int = PART_BYTES
) -> list[ExportedDevice]:
    """Return the devices of configurations and images, in order; `name` and `address` are for the first image.

    What is not exported is added to `notes`. Raises ConfigError and ImageError.
    """
    devices: list[ExportedDevice] = []
    following = FIRST_ADDRESS if address is None else address
    for source in sources:
        if source.suffix in CONFIG_SUFFIXES and source.is_file():
            if name is not None or address is not None:
                raise ConfigError(f"{source}: found --name or --at beside a configuration, which says these itself")
            devices += _of_config(source, notes)
        else:
            devices.append(_of_image(source, name or _name_after(source), following, part_bytes))
            name = None
            following = -(-(devices[-1].segments[-1].address + devices[-1].segments[-1].size_bytes) // FIRST_ADDRESS)
            following *= FIRST_ADDRESS
    _check_names(devices)
    return devices


def _of_config(path: Path, notes: list[str]) -> list[ExportedDevice]:
    plan = load_plan(path)
    saved = saved_definitions(plan.name)
    devices = []
    for group in image_groups(plan.segments):
        if group[0].image is None:
            notes.append(f"segment {group[0].name} is left out: the configuration has no image for it")
            continue
        planned = plan_segments(group, saved, plan.name)
        devices.append(ExportedDevice(tuple(map(_range_of, planned)), _whole_image(group, planned)))
    if not devices:
        raise ConfigError(f"{path}: found no segment with an image, wanted one at least")
    return devices


def _range_of(planned: PlannedSegment) -> PlacedRange:
    """Return where a segment of a configuration lies; the last of several, and one alone, end at a whole unit."""
    definition = planned.definition
    if len(definition.ranges) > 1:
        raise ConfigError(
            f"{planned.plan.where}: segment {planned.plan.name}: found {len(definition.ranges)} page ranges, wanted"
            " one: Linux does not load segments of several"
        )
    return PlacedRange(planned.plan.name, definition.start, padded(definition.size_bytes), definition.ranges[0].type)


def _whole_image(group: Sequence[SegmentPlan], planned: Sequence[PlannedSegment]) -> ImagePlan:
    """Return the plan of an image as a whole, of which each planned segment has a part."""
    first = group[0]
    if len(group) == 1:
        image = planned[0].image
        assert image is not None
        return image
    assert first.image is not None
    size_bytes = sum(each.definition.size_bytes for each in planned)
    return plan_image(first.image, address=first.start_address or 0, size_bytes=size_bytes)


def _of_image(path: Path, name: str, address: int, part_bytes: int) -> ExportedDevice:
    if address % ALIGNMENT_BYTES or not address:
        raise ConfigError(f"--at: found {address:#x}, wanted a multiple of {ALIGNMENT_BYTES:#x} above 0")
    source = source_of(path)
    if isinstance(source, Ext2Source):
        _check_blocks(source)
    image = plan_image(source, address=address)
    size_bytes = padded(image.size_bytes)
    if address + size_bytes > MAX_DCSS_ADDR:
        raise ConfigError(f"{path}: found an end at {address + size_bytes:#x}, wanted at most {MAX_DCSS_ADDR:#x}")
    return ExportedDevice(tuple(_ranges(name, address, size_bytes, part_bytes)), image)


def _check_blocks(source: Ext2Source) -> None:
    with image_source(source.path, source.offset) as opened:
        block_bytes = mounted(opened, source.path).block_size_bytes
    if block_bytes != PAGE_SIZE:
        raise ImageError(
            f"{source.path}: found blocks of {block_bytes} bytes, wanted {PAGE_SIZE}, which xip and dax need; make the"
            f" file system with mke2fs -b {PAGE_SIZE}"
        )


def _ranges(name: str, address: int, size_bytes: int, part_bytes: int) -> list[PlacedRange]:
    if size_bytes <= part_bytes:
        return [PlacedRange(name, address, size_bytes)]
    starts = range(0, size_bytes, part_bytes)
    width = len(str(len(starts)))
    return [
        PlacedRange(f"{name[: 8 - width]}{number:0{width}d}", address + start, min(part_bytes, size_bytes - start))
        for number, start in enumerate(starts, 1)
    ]


def _name_after(path: Path) -> str:
    """Return a segment's name after that of a file."""
    return re.sub("[^A-Z0-9@#$]", "", path.absolute().stem.upper())[:8] or "LIB"


def _check_names(devices: Sequence[ExportedDevice]) -> None:
    seen: set[str] = set()
    for name in (segment.name for device in devices for segment in device.segments):
        SegmentName(name)
        if name in seen:
            raise ConfigError(f"segment {name}: found it twice, wanted names that differ; --name names the first image")
        seen.add(name)
