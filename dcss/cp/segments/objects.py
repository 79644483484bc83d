"""The shared memory objects of a system's segments: made at the first load, renewed when users changed them.

Functions that copy or hash may block: they are called in a thread, and change nothing but the objects. What they find
becomes a segment's state in the event loop.
"""

import os
import threading

from dcss.cp.segments.content import Fill, rewrite_content, write_content
from dcss.cp.segments.segment import Segment
from dcss.cp.segments.shm import SharedObject
from dcss.cp.threads import in_thread
from dcss.errors import DcssError, PublishError

SMALL_BYTES = 16 << 20  # what is larger is freed in a thread: 512 MiB take some 100 ms


class DamagedError(DcssError):
    """A segment's content is not what was saved: it is not served. `name` says whose, where that is not plain."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class SegmentObjects:
    """The shared memory objects of one system. Call its coroutines with the segment locked and pinned."""

    def __init__(self, system: str) -> None:
        self.system = system
        self._objects: set[SharedObject] = set()
        self._closing: list[threading.Thread] = []

    async def bring_in(self, segment: Segment) -> SharedObject:
        """Return the segment's object, made and checked against the saved digest if it is not in storage yet.

        Raises PublishError, or DamagedError; nothing is left then.
        """
        if segment.stored is None:
            segment.stored, segment.digest = await self._make(segment)
        return segment.stored

    async def renew(self, segment: Segment) -> None:
        """Write the saved content again if former users could change it; done before the next first user comes.

        Raises PublishError; it is still to be done then.
        """
        if segment.written and segment.stored is not None:
            write_fd = segment.stored.write_fd

            def renewed(_: None) -> None:
                segment.written = False

            try:
                await in_thread(lambda: rewrite_content(segment.definition, _fill(segment), write_fd), renewed)
            except OSError as error:
                raise PublishError(f"segment {segment.name}: could not be written as it was saved: {error}") from error

    async def bring_in_for_load(self, segment: Segment, *, shared: bool) -> None:
        """Make whatever `descriptor` needs. Raises PublishError, DamagedError."""
        await self.bring_in(segment)
        if segment.shared_writable and not shared and segment.pristine is None:
            segment.pristine, _ = await self._make(segment)

    def check_whole(self, segment: Segment, *, shared: bool) -> None:
        """Raise PublishError if what a load gets was truncated: the guest would end by SIGBUS."""
        pristine = segment.shared_writable and not shared
        stored = segment.pristine if pristine else segment.stored
        assert stored is not None, "brought in for the load"
        stored.check_whole()

    def descriptor(self, segment: Segment, *, shared: bool) -> int:
        """Return the descriptor that a load gets, after `bring_in_for_load`; it stays the object's own.

        A non-shared load shows the saved content, so it never gets the object that shared users write to.
        """
        if not segment.shared_writable:
            return segment.object.reader_fd
        if shared:
            segment.written = True
            return segment.object.write_fd
        assert segment.pristine is not None, "brought in for a non-shared load"
        return segment.pristine.reader_fd

    async def write(self, segment: Segment, offset_bytes: int, data: bytes) -> None:
        """CP's own write into pages of type SC. Raises PublishError, DamagedError if it is not in storage yet."""
        stored = await self.bring_in(segment)
        segment.written_by_cp = True
        has_digest, segment.digest = segment.digest is not None, None  # unknown until it is computed again

        def write() -> str | None:
            stored.check_whole()
            os.pwrite(stored.write_fd, data, offset_bytes)
            return stored.digest() if has_digest else None  # nobody but CP writes there

        def written(digest: str | None) -> None:
            segment.digest = digest

        await in_thread(write, written)

    def drop(self, segment: Segment) -> None:
        """Take a segment out of storage. Nothing happens if it is not there."""
        for each in (segment.stored, segment.pristine):
            if each is not None:
                self._close(each)
        segment.stored = segment.pristine = None

    def _close(self, unused: SharedObject) -> None:
        unused.unlink()
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        if unused.size_bytes > SMALL_BYTES:
            thread = threading.Thread(target=unused.close, name="dcss:free")
            try:
                thread.start()
            except RuntimeError:  # no thread can be started: others have to wait
                pass
            else:
                self._closing.append(thread)
                return
        unused.close()

    def close(self) -> None:
        """Take everything out of storage, also what an interrupt kept from becoming a segment's."""
        for thread in self._closing:
            thread.join()
        for each in list(self._objects):
            each.close()

    async def _make(self, segment: Segment) -> tuple[SharedObject, str | None]:
        made: list[tuple[SharedObject, str | None]] = []
        try:
            await in_thread(lambda: made.append(make_object(self.system, segment, self._objects)))
        except BaseException:  # cancelled: it may have been made all the same
            for unused, _ in made:
                unused.close()
            raise
        return made[0]


def make_object(system: str, segment: Segment, registry: set[SharedObject]) -> tuple[SharedObject, str | None]:
    """Make an object with the segment's saved content; return it, and its digest unless guests may change that."""
    definition, fill = segment.definition, _fill(segment)
    made = SharedObject(
        system,
        segment.name,
        definition.size_bytes,
        lambda write_fd: write_content(definition, fill, write_fd),
        number=segment.spid,
        huge=segment.huge,
        registry=registry,
    )
    changeable = any(page_range.type.shared_writable for page_range in definition.ranges)
    try:
        if changeable and segment.saved_digest is None:
            return made, None
        digest = made.digest()
        if segment.saved_digest not in {None, digest}:
            raise DamagedError(f"its content has digest {digest}, saved was {segment.saved_digest}")
    except BaseException:
        made.close()
        raise
    return made, None if changeable else digest


def _fill(segment: Segment) -> Fill:
    assert segment.fill is not None, "a skeleton has no content"
    return segment.fill
