"""What segments are saved from: images built for a skeleton, and files that were exported or made elsewhere."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from shlex import quote

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName, SegmentType, check_adjoining
from dcss.abi.page import PAGE_SIZE
from dcss.cli.operator import Operator
from dcss.cp.console import messages
from dcss.cp.console.definition import parse_names
from dcss.cp.console.messages import CommandError
from dcss.cp.console.query import definition_of
from dcss.cp.requests import FileSelection, Import, Query, Response, Row, Save
from dcss.cp.segments.segment import FileClass
from dcss.cp.spool.transfer import manifest_of, moved, read_exported
from dcss.errors import ConfigError
from dcss.host.files import WrongKindError, open_regular
from dcss.image.build import plan_image
from dcss.image.file_source import FileSource
from dcss.image.foreign import Foreign, foreign_content
from dcss.image.sources.file_kind import begins_a_tar
from dcss.image.sources.kind import source_of
from dcss.image.superblock import file_system_bytes, superblock_at
from dcss.progress import Progress


def save_image(operator: Operator, name: str, image: Path, progress: Progress) -> Response:
    """Save a skeleton with what `image` makes, laid out for its address, or skeletons that adjoin, as ``A:B``.

    Raises ImageError, SpoolError, and ConfigError for skeletons that do not adjoin, or for one more than it takes.
    """
    source = source_of(image)
    try:
        definitions = [_skeleton(operator, each) for each in parse_names(name.upper())]
    except CommandError as error:
        return Response.refusal(error)
    definitions.sort(key=lambda definition: definition.start)
    names = ":".join(definition.name for definition in definitions)
    sizes_bytes = [definition.size_bytes for definition in definitions]
    try:
        check_adjoining(definitions)
    except ValueError as error:
        raise ConfigError(f"{names}: {error}, since one image is for segments that adjoin") from error
    plan = plan_image(source, address=definitions[0].start, size_bytes=sum(sizes_bytes))
    if plan.file_system_bytes <= sum(sizes_bytes[:-1]):
        found = f"a file system of {plan.file_system_bytes} bytes, which ends before {definitions[-1].name} begins"
        raise ConfigError(f"{names}: found {found}, wanted one that reaches into it; leave {definitions[-1].name} out")
    progress.phase(f"save {names}", plan.content_bytes, "bytes")
    for note in plan.notes:
        progress.warn(note)
    parts = [plan] if len(definitions) == 1 else plan.parts(sizes_bytes)
    return joint_response(
        operator.perform(Save(definition.name, partial(part.write, progress=progress.advance)))
        for definition, part in zip(definitions, parts, strict=True)
    )


def _skeleton(operator: Operator, name: SegmentName) -> SegmentDefinition:
    """Return where a skeleton lies. Raises CommandError where there is none."""
    found = operator.perform(Query(FileSelection(name=name)))
    skeleton = next((row for row in found.data or [] if row["class"] == FileClass.SKELETON), None)
    if skeleton is None:
        raise CommandError(messages.NO_SKELETON, name=name)
    return definition_of(skeleton)


def joint_response(responses: Iterable[Response]) -> Response:
    """Return the responses to several requests as one; after one that CP refused no other is awaited."""
    lines: tuple[str, ...] = ()
    data: list[Row] = []
    return_code = 0
    for response in responses:
        return_code = response.return_code
        lines += response.lines
        data += response.data or []
        if return_code:
            break
    return Response(return_code, lines, data)


def imports_of(
    file: Path, name: str | None, address: int | None, kind: str | None, *, as_is: bool = False
) -> list[Import]:
    """Return the requests that import a file: one for each segment that its manifest lists, or without one, one.

    Raises ConfigError if file and options do not define it, SpoolError for a damaged manifest. Without a manifest, and
    unless it is to be taken `as_is`, ConfigError also for what has to be unpacked first.
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
            if not as_is:
                _check_content(file)
            return [Import(file, _without_manifest(file, size_bytes, name, address, kind))]
        if kind is not None:
            raise ConfigError(f"--type: found it beside {manifest}, which says the type; leave it out")
        return _exported(file, size_bytes, name, address)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error


def _exported(file: Path, size_bytes: int, name: str | None, address: int | None) -> list[Import]:
    """Return an import for each segment of an exported file; several keep their distances at another address."""
    manifests = read_exported(file)
    names = [each.definition.name for each in manifests] if name is None else name.upper().split(":")
    if len(set(names)) != len(manifests):
        found = ":".join(each.definition.name for each in manifests)
        raise ConfigError(f"--name: found {name}, wanted {len(manifests)} names, with a colon between them, as {found}")
    wanted_bytes = sum(each.definition.size_bytes for each in manifests)
    if len(manifests) > 1 and size_bytes != wanted_bytes:
        raise ConfigError(
            f"{file}: found {size_bytes} bytes, wanted the {wanted_bytes} that were exported; export it anew"
        )
    first = manifests[0].definition.start
    shift = 0 if address is None else address - first
    requests = []
    for each, segment in zip(manifests, names, strict=True):
        definition = moved(each.definition, name=SegmentName(segment), start=each.definition.start + shift)
        first_byte = None if len(manifests) == 1 else each.definition.start - first
        requests.append(Import(file, definition, each.digest, first_byte))
    return requests


def _check_content(file: Path) -> None:
    """Raise ConfigError for an archive, a compressed file, a disk image or another file system, with what to do."""
    try:
        descriptor = open_regular(file)
    except (OSError, WrongKindError):
        return  # the import says it
    try:
        source = FileSource(descriptor)
        if superblock_at(source) is not None:
            return
        if begins_a_tar(source):
            found = "a tar"
            advice = f"build an image of it first: dcss image build {quote(str(file))} -o IMG"
        elif (foreign := foreign_content(source, file)) is not None:
            found, advice = foreign.found, _cut_out(source, file, foreign) or foreign.advice
        else:
            return
    finally:
        os.close(descriptor)
    raise ConfigError(f"{file}: found {found}, wanted a segment's content: {advice}; --as-is takes it as it is")


def _cut_out(source: FileSource, file: Path, foreign: Foreign) -> str | None:
    """Return the command that copies the first ext2 file system out of a disk."""
    if not foreign.offsets:
        return None
    (skip, *_) = foreign.offsets
    superblock = superblock_at(source, skip)
    count = "" if superblock is None else f" count={file_system_bytes(superblock)}"
    names = f"if={quote(str(file))} of={quote(f'{file}.ext2')}"
    return f"copy its file system out first: dd {names} iflag=skip_bytes,count_bytes skip={skip}{count}"


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
