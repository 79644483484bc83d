"""What CP does for a request of dcss.cp.requests.

A request that CP refuses has a message as its response.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dcss.abi.extmem import SegmentName, SegmentType
from dcss.cp.console import messages, query
from dcss.cp.console.commands import parse_command
from dcss.cp.console.messages import CommandError
from dcss.cp.findings import Findings
from dcss.cp.requests import (
    THE_OPERATOR,
    ConsoleCommand,
    Define,
    Export,
    FileSelection,
    Import,
    Issuer,
    Load,
    OperatorRequest,
    Purge,
    Query,
    QueryNames,
    QueryUserid,
    Response,
    Save,
    SegmentRequest,
    Store,
)
from dcss.cp.segments.content import Fill, check_image, file_fill, is_blank, regular_size_bytes
from dcss.cp.segments.directory import SegmentDirectory
from dcss.cp.segments.objects import DamagedError
from dcss.cp.segments.segment import Segment
from dcss.cp.spool.saved import SavedSegments
from dcss.cp.spool.transfer import export_segments, import_segment
from dcss.cp.threads import in_thread
from dcss.errors import LaunchError, PublishError, SpoolError


class Host(NamedTuple):
    """What requests and hypercalls act on."""

    system: str
    directory: SegmentDirectory
    saved: SavedSegments
    findings: Findings
    machines: Mapping[str, object]


class Content(StrEnum):
    """What a segment in storage holds, as far as CP knows who may write there."""

    AS_SAVED = "as-saved"
    AS_PUBLISHED = "as-published"  # a segment that the spool does not keep
    WRITTEN_BY_CP = "written-by-cp"
    WRITTEN_BY_GUESTS = "written-by-guests"  # or may be: they have a writable descriptor, and it is not as saved


async def perform(host: Host, request: OperatorRequest, issuer: Issuer = THE_OPERATOR) -> Response:
    """Do what a request asks for.

    What fails is a response, too, if a console command could have made the request. Otherwise raises PublishError,
    SpoolError, DamagedError, LaunchError.
    """
    try:
        if isinstance(request, ConsoleCommand):
            command = parse_command(request.line, issuer)
            return Response(0, ()) if command is None else await perform(host, command, issuer)
        return await _perform(host, request, issuer)
    except CommandError as error:
        return Response.refusal(error)
    except (SpoolError, PublishError, DamagedError) as error:
        if isinstance(request, Load | Import | Export) or (isinstance(request, Save) and request.content is not None):
            raise
        return Response(messages.SPOOL_FAILED.number, (messages.SPOOL_FAILED.line(reason=error),))


async def _perform(host: Host, request: SegmentRequest | Store | QueryNames | QueryUserid, issuer: Issuer) -> Response:  # noqa: PLR0911
    match request:
        case Define():
            return await _define(host, request, issuer)
        case Save():
            return await _save(host, request, issuer)
        case Load():
            return await _load(host, request)
        case Query():
            return _query(host, request)
        case Purge():
            return await _purge(host, request)
        case Import():
            return await _import(host, request)
        case Export():
            return await _export(host, request)
        case Store():
            return await _store(host, request)
        case QueryNames():
            return Response(0, tuple(query.names([THE_OPERATOR.userid, *host.machines])))
        case QueryUserid():
            return Response(0, (f"{issuer.userid:<8} AT {host.system.upper()}",))


async def _define(host: Host, request: Define, issuer: Issuer) -> Response:
    skeleton = await host.saved.define(request.definition, owner=issuer.userid)
    return Response(0, (messages.DEFINED.line(name=skeleton.name, spid=skeleton.spid),), query.rows([skeleton]))


async def _save(host: Host, request: Save, issuer: Issuer) -> Response:
    content = request.content
    if content is None:
        fill_for: Callable[[Segment], Awaitable[Fill]] = partial(_storage_of, host, issuer)
    elif isinstance(content, Path):
        fill_for = partial(_image_for, content, await in_thread(partial(_size_bytes, content)))
    else:
        fill_for = partial(_given, content)
    saved = await host.saved.save(request.name, fill_for, owner=issuer.userid, drop=content is None)
    return _saved_response(saved)


async def _storage_of(host: Host, issuer: Issuer, skeleton: Segment) -> Fill:
    """Return what writes the issuer's storage at the segment's addresses.

    The operator has none: from here a segment begins as zeros, and no content that there is gets lost to them.
    """
    if issuer.machine is None:
        older = host.directory.available.get(skeleton.name)
        if older is not None and not await in_thread(
            partial(is_blank, older.definition, older.saved_digest or older.digest)
        ):
            raise CommandError(messages.NOTHING_TO_SAVE, name=skeleton.name, userid=issuer.userid, spid=older.spid)
        return lambda _: None
    dump = issuer.machine.dump
    if dump is None:
        raise CommandError(messages.NO_STORAGE, userid=issuer.userid)
    definition = skeleton.definition
    for pages in definition.ranges:
        if pages.type.saved and not issuer.machine.addresses(pages):
            raise CommandError(
                messages.NOT_ADDRESSABLE, name=skeleton.name, userid=issuer.userid, pages=str(pages).split(" ")[0]
            )
    return lambda write_fd: dump(write_fd, definition.start, definition.size_bytes)


async def _image_for(image: Path, image_bytes: int, skeleton: Segment) -> Fill:
    check_image(skeleton.definition, image_bytes)
    return file_fill(image, skeleton.definition.size_bytes)


async def _given(fill: Fill, _: Segment) -> Fill:
    return fill


def _size_bytes(path: Path) -> int:
    try:
        return regular_size_bytes(path)
    except OSError as error:
        raise LaunchError(f"{path}: CP cannot read it: {error.strerror}") from error


async def _load(host: Host, request: Load) -> Response:
    """Bring an available segment into storage and check its digest, also if it was there already.

    Its row says by `content` what it holds: where CP or guests may write, that need not be what was saved.
    """
    was_in = _available(host, request.name).stored is not None
    try:
        segment = await host.directory.bring_in(request.name)
    except KeyError:
        raise CommandError(messages.NO_SUCH_FILE, file=request.name) from None
    content = Content.AS_SAVED  # only the spool has what is not in storage
    if was_in:
        async with host.directory.exclusive(segment):
            content = _content(segment, await in_thread(segment.object.digest))
    return Response(0, (), [row | {"content": content.value} for row in query.rows([segment])])


def _content(segment: Segment, found: str) -> Content:
    """Return what a segment in storage holds, whose digest is `found`. Raises SpoolError if it has to be another."""
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


def _query(host: Host, request: Query) -> Response:
    found = _select(host, request.files)
    lines = query.LINES[request.form]
    return Response(0, tuple(lines(found)) if found else ("NO NSS FILES",), query.rows(found))


async def _purge(host: Host, request: Purge) -> Response:
    purged = await host.saved.purge(lambda: _select(host, request.files))
    pending = sum(in_use for _, in_use in purged)
    gone = len(purged) - pending
    lines = [f"{_count(gone)} PURGED"] if gone or not pending else []
    if pending:
        lines.append(f"{_count(pending)} PENDING PURGE")
    return Response(0, tuple(lines), query.rows(segment for segment, _ in purged))


def _count(number: int) -> str:
    return f"{number:04d} FILE " if number == 1 else f"{number:04d} FILES" if number else "NO FILES"


async def _import(host: Host, request: Import) -> Response:
    saved = await import_segment(
        host.saved,
        request.image,
        request.definition,
        digest=request.digest,
        first_byte=request.first_byte,
        advance=request.advance,
    )
    return _saved_response(saved)


async def _export(host: Host, request: Export) -> Response:
    async with host.saved.exclusive:
        segments = sorted((_available(host, name) for name in request.names), key=lambda each: each.definition.start)
        try:
            await in_thread(partial(export_segments, segments, request.image))
        except DamagedError as error:
            damaged = next(segment for segment in segments if segment.name == error.name)
            await host.directory.set_aside(damaged, str(error))
            raise DamagedError(f"segment {damaged.name}: {error}; it was set aside and is not served") from error
    return Response(0, (), query.rows(segments))


async def _store(host: Host, request: Store) -> Response:
    """Write pages of type SC, as z/VM's monitor does those of MONDCSS. The command is ours, for an operator."""
    segment = _available(host, request.name)
    start, end = request.address, request.address + len(request.data) - 1
    ranges = segment.definition.ranges
    if not any(each.type is SegmentType.SC and each.start <= start and end <= each.end for each in ranges):
        raise CommandError(messages.NOT_CP_WRITTEN, name=request.name, start=start, end=end)
    await host.directory.write(segment, start - segment.definition.start, request.data)
    return Response(0, ("STORE COMPLETE",), query.rows([segment]))


def _saved_response(saved: Segment) -> Response:
    return Response(0, (messages.SAVED.line(name=saved.name, spid=saved.spid),), query.rows([saved]))


def _select(host: Host, wanted: FileSelection) -> Sequence[Segment]:
    """Return the files that are meant, by file number. Raises CommandError if one is named and does not exist."""
    files = [host.directory.files[spid] for spid in sorted(host.directory.files)]
    if wanted.name is not None:
        found = [segment for segment in files if segment.name == wanted.name]
    elif wanted.number is not None:
        found = [segment for segment in files if str(segment.spid) == wanted.number.lstrip("0")]
    else:
        return files
    if not found:
        raise CommandError(messages.NO_SUCH_FILE, file=wanted.name or wanted.number)
    return found


def _available(host: Host, name: SegmentName) -> Segment:
    segment = host.directory.available.get(name)
    if segment is None:
        message = messages.NOT_SAVED if name in host.directory.skeletons else messages.NO_SUCH_FILE
        raise CommandError(message, name=name, file=name)
    return segment
