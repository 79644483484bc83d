"""Plan a segment: find its definition, and the image that goes in, before anything is made."""

from dataclasses import dataclass

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.config.plan import SegmentPlan
from dcss.errors import ConfigError
from dcss.image.build import ImagePlan, plan_image
from dcss.image.problems import segment_errors


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """A segment that gets `image`; without one it is in the spool (`saved`), or begins as zeros."""

    plan: SegmentPlan
    definition: SegmentDefinition
    image: ImagePlan | None = None
    saved: bool = False


def plan_segment(plan: SegmentPlan, saved: SegmentDefinition | None, system: str) -> PlannedSegment:
    """Return where a segment will lie and what goes in; `saved` is its saved version, if there is one.

    Raises ConfigError where it cannot be made.
    """
    if plan.image is not None:
        with segment_errors(plan):
            image = plan_image(plan.image, address=plan.start_address or 0, size_bytes=plan.size_bytes)
        return PlannedSegment(plan, _definition(plan, image.size_bytes), image)
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
        raise ConfigError(f"{plan.where}: {error}") from error
