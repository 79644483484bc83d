"""Plan segments: find their definitions, and the images that go in, before anything is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dcss.abi.extmem import MAX_DCSS_BYTES, PageRange, SegmentDefinition, SegmentName
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.config.plan import SegmentPlan
from dcss.errors import ConfigError
from dcss.image.build import ImagePlan, plan_image
from dcss.image.problems import segment_errors
from dcss.system.huge_pages import check_place


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """A segment that gets `image`; without one it is in the spool (`saved`), or begins as zeros."""

    plan: SegmentPlan
    definition: SegmentDefinition
    image: ImagePlan | None = None
    saved: bool = False

    @property
    def huge(self) -> bool:
        """Whether it gets huge pages, where the machine has them."""
        return self.plan.huge_pages != "never"


def plan_segments(
    plans: Sequence[SegmentPlan], saved: Mapping[SegmentName, SegmentDefinition], system: str
) -> list[PlannedSegment]:
    """Return where the segments of a group will lie, which one image lies over, and what goes in.

    `saved` has the definitions in the spool. Raises ConfigError where they cannot be made.
    """
    planned = _plan_group(plans, saved, system)
    for each in planned:
        check_place(each.plan, each.definition.start, each.definition.size_bytes)
    return planned


def _plan_group(
    plans: Sequence[SegmentPlan], saved: Mapping[SegmentName, SegmentDefinition], system: str
) -> list[PlannedSegment]:
    first, last = plans[0], plans[-1]
    if first.image is None:
        return [_plan_saved(first, saved.get(SegmentName(first.name)), system)]
    before_bytes = sum(plan.size_bytes or 0 for plan in plans[:-1])  # all but the last one have a size
    given_bytes = None if last.size_bytes is None else before_bytes + last.size_bytes
    with segment_errors(plans):
        image = plan_image(first.image, address=first.start_address or 0, size_bytes=given_bytes)
    if given_bytes is None:
        image = replace(image, size_bytes=-(-image.size_bytes // last.multiple_bytes) * last.multiple_bytes)
    if image.file_system_bytes <= before_bytes:
        raise ConfigError(
            f"{_field(last, 'image', 'continues')}: segment {last.name}: found a file system of"
            f" {image.file_system_bytes} bytes, which ends before this segment begins, wanted more than {before_bytes}"
            " (leave this segment out, or make those before it smaller)"
        )
    sizes_bytes = [plan.size_bytes or image.size_bytes - before_bytes for plan in plans]
    parts = [image] if len(plans) == 1 else image.parts(sizes_bytes)
    return [
        PlannedSegment(plan, _definition(plan, size_bytes), part)
        for plan, size_bytes, part in zip(plans, sizes_bytes, parts, strict=True)
    ]


def _field(plan: SegmentPlan, *keys: str) -> str:
    return plan.where if plan.place is None else plan.place.field(*keys)


def _plan_saved(plan: SegmentPlan, saved: SegmentDefinition | None, system: str) -> PlannedSegment:
    """Plan a segment without an image: one of the spool, or pages that begin as zeros."""
    if saved is not None:
        _check_saved(plan, saved)
        return PlannedSegment(plan, saved, saved=True)
    sized = plan.definition is not None or plan.size_bytes is not None
    definition = _definition(plan, plan.size_bytes or 0) if sized else None
    if definition is None or any(each.type.saved for each in definition.ranges):
        raise ConfigError(
            f"{plan.where}: segment {plan.name}: found no image:, and no saved segment {plan.name} in the spool of"
            f" system {system}; give it an image, or save one (dcss segment define and save, --system {system})"
        )
    return PlannedSegment(plan, definition)


def _check_saved(plan: SegmentPlan, saved: SegmentDefinition) -> None:
    """Raise ConfigError where the plan says that the segment lies elsewhere than it was saved for."""
    if plan.start_address is None:
        return
    wanted = _definition(plan, plan.size_bytes or saved.size_bytes)
    if wanted.ranges != saved.ranges:
        said, found = (", ".join(map(str, each.ranges)) for each in (wanted, saved))
        raise ConfigError(
            f"{plan.where}: segment {plan.name}: found {said}, wanted {found}, as it is saved; leave that out, or save"
            " it anew"
        )


def _definition(plan: SegmentPlan, size_bytes: int) -> SegmentDefinition:
    if plan.definition is not None:
        return plan.definition
    assert plan.start_address is not None, "at: stands where define: does not"
    assert plan.type is not None, "at: gives it its default"
    first_page = plan.start_address >> PAGE_SHIFT
    pages = -(-size_bytes // PAGE_SIZE)
    try:
        return SegmentDefinition(SegmentName(plan.name), (PageRange(first_page, first_page + pages - 1, plan.type),))
    except ValueError as error:
        mends = f" (give it a size, and let another segment go on: image: {{continues: {plan.name}}})"
        hint = mends if size_bytes > MAX_DCSS_BYTES and (plan.image or plan.continues) else ""
        raise ConfigError(f"{plan.where}: {error}{hint}") from error
