"""Where the files of segments lie, as the host reads them from images; one image may lie over several segments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dcss.abi.page import PAGE_SHIFT
from dcss.account.targets import SegmentTarget
from dcss.cp.segments.shm import SharedObject
from dcss.image.file_source import FileSource
from dcss.image.files import FileExtents, ImageFiles, image_files
from dcss.image.joined_source import JoinedSource
from dcss.image.superblock import file_system_bytes, superblock_at

_Version = tuple[int, int, str]  # device and inode of an object, digest of its content


class ExtentCache:
    """Where the files of each version in storage lie; read once, except where guests may change that.

    Used from threads that prove or publish, one at a time, while the versions are pinned.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[_Version, ...], ImageFiles] = {}

    def with_files(
        self, segments: Sequence[SegmentTarget], objects: Mapping[str, SharedObject]
    ) -> tuple[SegmentTarget, ...]:
        """Return the segments with their files; forget those of versions that are not in storage any more.

        `objects` has the segments' objects by name. A file of an image that lies over several segments has an entry in
        each that holds a part of it.
        """
        current: dict[tuple[_Version, ...], ImageFiles] = {}
        found: dict[str, SegmentTarget] = {}
        for members in _devices(segments, objects):
            stored = [objects[member.shm_name] for member in members]
            versions = tuple(
                (each.device, each.inode, member.digest)
                for each, member in zip(stored, members, strict=True)
                if member.digest is not None
            )
            files = self._read.get(versions) if len(versions) == len(members) else None
            if files is None:
                parts = [FileSource(each.reader_fd) for each in stored]
                files = image_files(parts[0] if len(parts) == 1 else JoinedSource(parts))
            if len(versions) == len(members):
                current[versions] = files
            for member in divided(members, files):
                found[member.shm_name] = member
        self._read = current
        return tuple(found[segment.shm_name] for segment in segments)


def _devices(
    segments: Sequence[SegmentTarget], objects: Mapping[str, SharedObject]
) -> Iterator[tuple[SegmentTarget, ...]]:
    """Yield segments alone, and those that one file system lies over together, in the order of their addresses."""
    joined: set[str] = set()
    for segment in sorted(segments, key=lambda each: each.start):
        if segment.shm_name in joined:
            continue
        superblock = superblock_at(FileSource(objects[segment.shm_name].reader_fd))
        wanted_bytes = 0 if superblock is None else file_system_bytes(superblock)
        members = [segment]
        while sum(member.size_bytes for member in members) < wanted_bytes:
            following = _following(members[-1], segments, joined)
            if following is None:
                break
            members.append(following)
        joined.update(member.shm_name for member in members)
        yield tuple(members)


def _following(segment: SegmentTarget, segments: Sequence[SegmentTarget], joined: set[str]) -> SegmentTarget | None:
    """Return the segment that begins where this one ends; of several versions one of the same standing."""
    end = segment.start + segment.size_bytes
    adjoining = [each for each in segments if each.start == end and each.shm_name not in joined]
    return max(adjoining, key=lambda each: _standing(each) == _standing(segment), default=None)


def _standing(segment: SegmentTarget) -> tuple[bool, bool]:
    """Return whether a version waits to be purged, and whether it is the saved content beside what guests change."""
    _, *more = segment.name.split(".")
    return any(word.isdigit() for word in more), "saved" in more


def divided(members: Sequence[SegmentTarget], files: ImageFiles) -> Iterator[SegmentTarget]:
    """Yield each segment with its own part of the files; the first has what is said of damage."""
    first_page, damage = 0, files.damage
    joined = tuple(member.shm_name for member in members) if len(members) > 1 else ()
    for member in members:
        end_page = first_page + (member.size_bytes >> PAGE_SHIFT)
        own = files.files if len(members) == 1 else tuple(_parts(files.files, first_page, end_page))
        yield replace(member, files=own, damage=damage, joined=joined)
        first_page, damage = end_page, ()


def _parts(files: Sequence[FileExtents], first_page: int, end_page: int) -> Iterator[FileExtents]:
    for file in files:
        runs = []
        for file_page, page, pages in file.runs:
            start, end = max(page, first_page), min(page + pages, end_page)
            if start < end:
                runs.append((file_page + start - page, start - first_page, end - start))
        if runs:
            yield file._replace(runs=tuple(runs))
