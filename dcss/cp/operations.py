"""What an operator asks of CP beyond its commands: save an image, import, export, bring in. They answer as commands do.

A request that CP refuses is a response with a message; what fails (a full disk, a damaged file) is raised.
"""

import hashlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.cp.console import messages, query
from dcss.cp.console.commands import Response, saved_response
from dcss.cp.console.definition import parse_name
from dcss.cp.console.messages import CommandError
from dcss.cp.program import ControlProgram
from dcss.cp.segments.content import Fill, check_image
from dcss.cp.segments.segment import FileClass, Segment
from dcss.cp.segments.storage import DamagedError
from dcss.cp.spool.transfer import export_segment, import_segment
from dcss.cp.steps import Steps
from dcss.errors import SpoolError


class Content(StrEnum):
    """What a segment in storage holds, as far as CP knows who may write there."""

    AS_SAVED = "as-saved"
    AS_PUBLISHED = "as-published"  # a segment that the spool does not keep
    WRITTEN_BY_CP = "written-by-cp"
    WRITTEN_BY_GUESTS = "written-by-guests"  # or may be: they have a writable descriptor, and it is not as saved


def save_image(cp: ControlProgram, name: str, fill: Fill, *, image_bytes: int | None = None) -> Steps[Response]:
    """SAVESEG with the content that `fill` writes. Raises PublishError, SpoolError; all is as it was then."""

    def save() -> Steps[Response]:
        yield from cp.saved.turn()
        skeleton = _skeleton(cp, parse_name(name.upper()))
        check_image(skeleton.definition, image_bytes)
        saved = yield from cp.saved.save_steps(skeleton.name, fill)
        return saved_response(saved)

    return _answer(save())


def import_image(
    cp: ControlProgram,
    image: Path,
    definition: SegmentDefinition,
    digest: str | None,
    advance: Callable[[int], None] = lambda _: None,
) -> Steps[Response]:
    """Define and save a segment from a file; `digest` is the one that it must have. Raises SpoolError."""
    saved = yield from import_segment(cp.saved, image, definition=definition, digest=digest, advance=advance)
    return saved_response(saved)


def export(cp: ControlProgram, name: str, image: Path) -> Steps[Response]:
    """Write an available segment's saved content, and its manifest, to `image`.

    Raises SpoolError, and DamagedError for a segment that is not what was saved, which is set aside.
    """

    def write() -> Steps[Response]:
        yield from cp.saved.turn()
        segment = _available(cp, parse_name(name.upper()))
        with cp.saved.alone():
            try:
                yield lambda: export_segment(segment, image)
            except DamagedError as error:
                cp.set_aside(segment, str(error))
                raise DamagedError(f"segment {segment.name}: {error}; it was set aside and is not served") from error
        return Response(0, (), query.rows([segment]))

    return _answer(write())


def bring_in(cp: ControlProgram, name: str) -> Response:
    """Bring an available segment into storage and check its digest, also where it was there already.

    Its row says by `content` what it holds, a `Content`: where CP or guests may write, that need not be what was saved.
    Raises PublishError, SpoolError; a segment that is not what was saved is set aside.
    """
    try:
        segment = _available(cp, parse_name(name.upper()))
    except CommandError as error:
        return _refusal(error)
    was_in = segment.stored is not None
    cp.open(segment.name)
    content = _content(segment) if was_in else Content.AS_SAVED  # only the spool has what is not in storage
    return Response(0, (), [row | {"content": content.value} for row in query.rows([segment])])


def _content(segment: Segment) -> Content:
    """Return what a segment in storage holds. Raises SpoolError where that is not what it has to be."""
    found = hashlib.sha256(segment.object.buffer).hexdigest()
    wanted = segment.digest
    if wanted is None and not (segment.written or segment.written_by_cp):
        wanted = segment.saved_digest  # guests may write by its types, and none has had the means yet
    if wanted not in {None, found}:
        raise SpoolError(f"segment {segment.name}: found content of digest {found}, wanted {wanted}")
    if found == segment.saved_digest:
        return Content.AS_SAVED
    if segment.written:
        return Content.WRITTEN_BY_GUESTS
    return Content.WRITTEN_BY_CP if segment.written_by_cp else Content.AS_PUBLISHED


def _skeleton(cp: ControlProgram, name: SegmentName) -> Segment:
    skeleton = next(_skeletons(cp, name), None)
    if skeleton is None:
        raise CommandError(messages.NO_SKELETON, name=name)
    return skeleton


def _available(cp: ControlProgram, name: SegmentName) -> Segment:
    segment = cp.available.get(name)
    if segment is None:
        raise CommandError(
            messages.NOT_SAVED if any(_skeletons(cp, name)) else messages.NO_SUCH_FILE, name=name, file=name
        )
    return segment


def _skeletons(cp: ControlProgram, name: SegmentName) -> Iterator[Segment]:
    return (each for each in cp.files.values() if each.name == name and each.file_class is FileClass.SKELETON)


def _answer(steps: Steps[Response]) -> Steps[Response]:
    try:
        return (yield from steps)
    except CommandError as error:
        return _refusal(error)


def _refusal(error: CommandError) -> Response:
    return Response(error.return_code, (error.line,))
