"""From a segment's plan to shared memory: the image is planned first, so its size is known before anything is made."""

from dcss.abi.extmem import PAGE_SHIFT, PAGE_SIZE, PageRange, SegmentDefinition, SegmentName
from dcss.config.plan import SegmentPlan
from dcss.cp.control import ControlProgram
from dcss.cp.segment import Segment
from dcss.errors import ConfigError
from dcss.image.build import plan_image
from dcss.report.progress import Progress


def publish_segment(cp: ControlProgram, plan: SegmentPlan, progress: Progress) -> Segment:
    """Build a segment's image straight into its object. Raises ConfigError, ImageError, PublishError."""
    if plan.image is None:
        raise ConfigError(f"{plan.where}: segment {plan.name}: found no image:, and the spool holds no such segment")
    given_bytes = plan.definition.size_bytes if plan.definition is not None else plan.size_bytes
    image = plan_image(plan.image, address=plan.start_address, size_bytes=given_bytes)
    definition = plan.definition or _definition(plan, image.size_bytes)
    progress.phase(f"publish {plan.name}", image.content_bytes, "bytes")
    for note in image.notes:
        progress.warn(f"segment {plan.name}: {note}")

    def fill(descriptor: int) -> None:
        image.write(descriptor, progress.advance)

    return cp.publish(definition, fill, image_bytes=image.size_bytes)


def _definition(plan: SegmentPlan, size_bytes: int) -> SegmentDefinition:
    first_page = plan.start_address >> PAGE_SHIFT
    pages = -(-size_bytes // PAGE_SIZE)
    try:
        return SegmentDefinition(SegmentName(plan.name), (PageRange(first_page, first_page + pages - 1, plan.type),))
    except ValueError as error:
        raise ConfigError(f"{plan.where}: {error}") from error
