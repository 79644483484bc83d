"""What segments are saved from: images built for a skeleton, and files that were exported or made elsewhere."""

from pathlib import Path

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName, SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.cli.operator import Operator
from dcss.cp.console import messages
from dcss.cp.console.definition import parse_name
from dcss.cp.console.messages import CommandError
from dcss.cp.console.query import ranges_of
from dcss.cp.requests import FileSelection, Query, Response, Save
from dcss.cp.segments.segment import FileClass
from dcss.cp.spool.transfer import manifest_of, moved, read_exported
from dcss.errors import ConfigError
from dcss.image.build import plan_image
from dcss.image.sources.kind import source_of
from dcss.progress import Progress


def save_image(operator: Operator, name: str, image: Path, progress: Progress) -> Response:
    """Save a skeleton with what `image` makes, laid out for the skeleton's address. Raises ImageError, SpoolError."""
    source = source_of(image)
    try:
        segment = parse_name(name.upper())
    except CommandError as error:
        return Response.refusal(error)
    found = operator.perform(Query(FileSelection(name=segment)))
    skeleton = next((row for row in found.data or [] if row["class"] == FileClass.SKELETON), None)
    if skeleton is None:
        return Response.refusal(CommandError(messages.NO_SKELETON, name=segment))
    ranges = ranges_of(skeleton)
    start, end = ranges[0].start, ranges[-1].end + 1
    plan = plan_image(source, address=start, size_bytes=end - start)
    progress.phase(f"save {segment}", plan.content_bytes, "bytes")
    for note in plan.notes:
        progress.warn(note)
    return operator.perform(Save(segment, lambda write_fd: plan.write(write_fd, progress.advance)))


def imported(
    file: Path, name: str | None, address: int | None, kind: str | None
) -> tuple[SegmentDefinition, str | None]:
    """Return the definition of a segment in a file and, if it has a manifest, the digest of its content.

    Raises ConfigError if file and options do not define it, SpoolError for a damaged manifest.
    """
    try:
        size_bytes = file.stat().st_size
    except OSError as error:
        raise ConfigError(f"{file}: found {error.strerror}, wanted a file to import") from error
    if not file.is_file():
        raise ConfigError(f"{file}: found no regular file, wanted one to import; a directory becomes an image by save")
    manifest = manifest_of(file)
    try:
        if not manifest.exists():
            return _without_manifest(file, size_bytes, name, address, kind), None
        if kind is not None:
            raise ConfigError(f"--type: found it beside {manifest}, which says the type; leave it out")
        exported = read_exported(file)
        old = exported.definition
        segment = old.name if name is None else SegmentName(name.upper())
        return moved(old, name=segment, start=old.start if address is None else address), exported.digest
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error


def _without_manifest(
    file: Path, size_bytes: int, name: str | None, address: int | None, kind: str | None
) -> SegmentDefinition:
    if name is None or address is None:
        raise ConfigError(f"{file}: found no {manifest_of(file).name} beside it, wanted that, or --name and --at")
    if size_bytes == 0:
        raise ConfigError(f"{file}: found an empty file, wanted a segment's content")
    segment = SegmentName(name.upper())
    pages = PageRange(0, (size_bytes - 1) // PAGE_SIZE, SegmentType[(kind or "SR").upper()])
    return moved(SegmentDefinition(segment, (pages,)), name=segment, start=address)
