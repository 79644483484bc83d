"""From segments' plans to shared memory: all images are planned first, so their sizes are known before any is made."""

from collections.abc import Sequence

from dcss.abi.extmem import PAGE_SHIFT, PAGE_SIZE, PageRange, SegmentDefinition, SegmentName
from dcss.config.plan import SegmentPlan
from dcss.cp.control import ControlProgram
from dcss.cp.shm import check_space
from dcss.errors import ConfigError
from dcss.image.build import ImagePlan, plan_image
from dcss.report.progress import Progress


def publish_segments(cp: ControlProgram, plans: Sequence[SegmentPlan], progress: Progress) -> None:
    """Build each segment's image straight into its object. Nothing is made where not all of them have room.

    Raises ConfigError, ImageError, PublishError.
    """
    planned = [_planned(plan) for plan in plans]
    if len(planned) > 1:  # one alone is checked when it is made
        names = ", ".join(definition.name for definition, _ in planned)
        check_space(names, sum(definition.size_bytes for definition, _ in planned))
    for definition, image in planned:
        progress.phase(f"publish {definition.name}", image.content_bytes, "bytes")
        for note in image.notes:
            progress.warn(f"segment {definition.name}: {note}")
        _publish(cp, definition, image, progress)


def _publish(cp: ControlProgram, definition: SegmentDefinition, image: ImagePlan, progress: Progress) -> None:
    def fill(descriptor: int) -> None:
        image.write(descriptor, progress.advance)

    cp.publish(definition, fill, image_bytes=image.size_bytes)


def _planned(plan: SegmentPlan) -> tuple[SegmentDefinition, ImagePlan]:
    if plan.image is None:
        raise ConfigError(f"{plan.where}: segment {plan.name}: found no image:, and the spool holds no such segment")
    given_bytes = plan.definition.size_bytes if plan.definition is not None else plan.size_bytes
    image = plan_image(plan.image, address=plan.start_address, size_bytes=given_bytes)
    return plan.definition or _definition(plan, image.size_bytes), image


def _definition(plan: SegmentPlan, size_bytes: int) -> SegmentDefinition:
    first_page = plan.start_address >> PAGE_SHIFT
    pages = -(-size_bytes // PAGE_SIZE)
    try:
        return SegmentDefinition(SegmentName(plan.name), (PageRange(first_page, first_page + pages - 1, plan.type),))
    except ValueError as error:
        raise ConfigError(f"{plan.where}: {error}") from error
