"""Segments in storage: objects made when a segment is first loaded, and renewed when users changed them."""

import hashlib
import os

from dcss.cp.segments.content import Fill, rewrite_content, write_content
from dcss.cp.segments.segment import Segment
from dcss.cp.segments.shm import SharedObject
from dcss.errors import DcssError, PublishError


class DamagedError(DcssError):
    """A segment's content is not what was saved: it is not served."""


class Storage:
    """The shared memory objects of one system."""

    def __init__(self, system: str) -> None:
        self.system = system
        self._objects: set[SharedObject] = set()

    def bring_in(self, segment: Segment) -> SharedObject:
        """Return the segment's object, made and checked against the saved digest where it is not in storage yet.

        Raises PublishError, or DamagedError; nothing is left then.
        """
        if segment.stored is None:
            segment.stored = self._make(segment)
        return segment.stored

    def renew(self, segment: Segment) -> None:
        """Before a first user comes, write the saved content again where former users could change it.

        Raises PublishError; the next first user finds it to be done still.
        """
        if segment.written and segment.stored is not None:
            try:
                rewrite_content(segment.definition, _fill(segment), segment.stored.write_fd)
            except OSError as error:
                raise PublishError(f"segment {segment.name}: could not be written as it was saved: {error}") from error
            segment.written = False

    def descriptor(self, segment: Segment, *, shared: bool) -> int:
        """Return the descriptor that a load gets; it stays the object's own.

        A non-shared load shows the saved content, so it never gets the object that shared users write to.
        """
        stored = self.bring_in(segment)
        if not segment.shared_writable:
            return stored.reader_fd
        if shared:
            segment.written = True
            return stored.write_fd
        if segment.pristine is None:
            segment.pristine = self._make(segment)
        return segment.pristine.reader_fd

    def write(self, segment: Segment, offset_bytes: int, data: bytes) -> None:
        """CP's own write into pages of type SC. Raises PublishError, DamagedError where it is not in storage yet."""
        stored = self.bring_in(segment)
        os.pwrite(stored.write_fd, data, offset_bytes)
        segment.written_by_cp = True
        if segment.digest is not None:  # CP alone writes there: what it is to be is known again
            segment.digest = hashlib.sha256(stored.buffer).hexdigest()

    def drop(self, segment: Segment) -> None:
        """Take a segment out of storage. Nothing happens where it is not there."""
        for each in (segment.stored, segment.pristine):
            if each is not None:
                each.close()
        segment.stored = segment.pristine = None

    def close(self) -> None:
        """Take everything out of storage, also what an interrupt kept from becoming a segment's."""
        for each in list(self._objects):
            each.close()

    def _make(self, segment: Segment) -> SharedObject:
        definition, fill = segment.definition, _fill(segment)
        made = SharedObject(
            self.system,
            segment.name,
            definition.size_bytes,
            lambda write_fd: write_content(definition, fill, write_fd),
            number=segment.spid,
            registry=self._objects,
        )
        try:
            if segment.saved_digest is not None or not _changeable(segment):
                digest = hashlib.sha256(made.buffer).hexdigest()
                if segment.saved_digest not in {None, digest}:
                    raise DamagedError(f"its content has digest {digest}, saved was {segment.saved_digest}")
                segment.digest = None if _changeable(segment) else digest
        except BaseException:
            made.close()
            raise
        return made


def _changeable(segment: Segment) -> bool:
    return any(page_range.type.shared_writable for page_range in segment.definition.ranges)


def _fill(segment: Segment) -> Fill:
    assert segment.fill is not None, "a skeleton has no content"
    return segment.fill
