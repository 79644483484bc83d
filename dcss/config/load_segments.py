"""Turn the entries of `segments:`, which have been checked, into plans."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path

from dcss.abi.extmem import SegmentType
from dcss.config.document import Document
from dcss.config.models import DebianModel, ImageModel, SegmentModel
from dcss.config.placement import continued_by, definition_of, end_types_of, joined_segments, placements_of
from dcss.config.plan import SegmentPlan
from dcss.config.problems import Place, nearest_line
from dcss.config.sources import DebianSource, DirectorySource, Ext2Source, FilesSource, ImageSource, TarSource


def segment_plans(segments: Sequence[SegmentModel], directory: Path, document: Document) -> Iterator[SegmentPlan]:
    """Yield the plan of each segment; relative paths begin in `directory`."""
    placements, types = placements_of(segments), end_types_of(segments)
    by_name = {segment.name: segment for segment in segments}
    saved = {name: by_name[names[0]].save for names in joined_segments(segments) for name in names}
    for index, segment in enumerate(segments):
        place = document.place("segments", index)
        plan = _segment(segment, directory, place)
        if plan.continues is not None and plan.definition is None:
            start, kind = placements[segment.name].start, types[segment.name][0]
            plan = replace(plan, start_address=start, type=kind)
        yield replace(plan, save=saved[segment.name])


def _segment(segment: SegmentModel, directory: Path, place: Place) -> SegmentPlan:
    continues = continued_by(segment)
    image = None if segment.image is None or continues is not None else _image(segment.image, directory)
    where = f"{place.file}:{nearest_line(place.lines, place.location)}"
    plan = SegmentPlan(
        name=segment.name,
        definition=None,
        start_address=None,
        type=None,
        size_bytes=segment.size,
        image=image,
        save=segment.save,
        where=where,
        place=place,
        continues=continues,
        huge_pages=segment.huge_pages,
    )
    if segment.define is not None:
        definition = definition_of(segment)
        kind, size_bytes = definition.ranges[0].type, definition.size_bytes
        return replace(plan, definition=definition, start_address=definition.start, type=kind, size_bytes=size_bytes)
    if segment.at is not None:
        return replace(plan, start_address=segment.at, type=SegmentType[segment.type])
    return plan


def _image(image: ImageModel, directory: Path) -> ImageSource:
    if image.directory is not None:
        return DirectorySource(absolute(directory, image.directory))
    if image.tar is not None:
        return TarSource(absolute(directory, image.tar), image.platform, image.tag)
    if image.debian is not None:
        return _debian(image.debian, directory)
    if image.ext2 is not None:
        return Ext2Source(absolute(directory, image.ext2), image.offset)
    at_least = image.at_least
    return FilesSource(
        patterns=_patterns(directory, image.files or ()),
        min_files=at_least.files if at_least else 0,
        min_bytes=at_least.size if at_least else 0,
        max_bytes=image.up_to,
        exclude=_patterns(directory, image.exclude),
        with_libraries=image.with_libraries,
    )


def _debian(debian: DebianModel, directory: Path) -> DebianSource:
    return DebianSource(
        packages=tuple(debian.packages),
        suite=debian.suite,
        arch=debian.arch,
        mirror=debian.mirror,
        keyring=None if debian.keyring is None else absolute(directory, debian.keyring),
        busybox_links=debian.busybox_links,
    )


def _patterns(directory: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns as absolute ones. The directory's own name is no pattern, whatever characters it has."""
    return tuple(
        pattern if pattern.startswith("/") else os.path.normpath(f"{escape(str(directory))}/{pattern}")
        for pattern in patterns
    )


def absolute(directory: Path, path: str) -> Path:
    """Return a path of the file as an absolute one."""
    return Path(os.path.abspath(directory / path))  # noqa: PTH100 - resolve() would follow links
