"""DEFSEG, SAVESEG and PURGE NSS: changes of the directory that the spool keeps; the disk changes first."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.cp.console import messages
from dcss.cp.console.messages import CommandError
from dcss.cp.findings import Findings
from dcss.cp.segments.content import Fill, check_image
from dcss.cp.segments.directory import SegmentDirectory
from dcss.cp.segments.segment import FileClass, Segment
from dcss.cp.spool.manifest import Manifest
from dcss.cp.spool.spool import Spool
from dcss.cp.threads import in_thread
from dcss.cp.userids import OPERATOR


class SavedSegments:
    """The system data files of `directory` that `spool` keeps, those found there included.

    One definition, save, export or publication runs at a time: it holds `exclusive`, and the next one waits (CPREF,
    DEFSEG). Loads, queries and purges go on meanwhile.
    """

    def __init__(self, directory: SegmentDirectory, spool: Spool, findings: Findings) -> None:
        self.exclusive = asyncio.Lock()
        self._files = asyncio.Lock()  # held while it changes which files there are
        self._directory = directory
        self._spool = spool
        self._findings = findings
        directory.on_damaged, directory.files_settled = self.set_aside, self.files_settled
        self._serial = 0
        for manifest in spool.recover(findings.add_damaged):
            self._serial = max(self._serial, manifest.serial)
            directory.add(self._segment(manifest))

    async def define(self, definition: SegmentDefinition, *, owner: str = OPERATOR) -> Segment:
        """DEFSEG: enter a skeleton. Raises SpoolError, and CommandError while there is one of that name already."""
        async with self.exclusive, self._files:
            older = self._directory.skeletons.get(definition.name)
            if older is not None:
                raise CommandError(messages.SKELETON_EXISTS, name=older.name, spid=older.spid)
            manifest = self._manifest(self._directory.next_spid(), FileClass.SKELETON, definition, owner)
            return await self._enter(manifest, partial(self._spool.write, manifest))

    async def save(
        self,
        name: SegmentName,
        fill_for: Callable[[Segment], Awaitable[Fill]],
        *,
        owner: str = OPERATOR,
        drop: bool = False,
    ) -> Segment:
        """SAVESEG: give the skeleton of `name` its content; it takes the place of the available segment of that name.

        `fill_for(skeleton)` gives what writes the content. What that writes where the types keep nothing is an error,
        or with `drop` made zero. An older version in use stays for its users, as class P. Raises PublishError, and
        SpoolError, after which everything is as it was; what the fill raises passes through likewise. Raises
        CommandError if no skeleton is defined, or if it is purged meanwhile.
        """
        async with self.exclusive:
            skeleton = self._directory.skeletons.get(name)
            if skeleton is None:
                raise CommandError(messages.NO_SKELETON, name=name)
            manifest = self._manifest(skeleton.spid, saved_class(skeleton.definition), skeleton.definition, owner)
            write = partial(self._spool.write_content, manifest, await fill_for(skeleton), drop=drop)
            return await self._save(manifest, write, skeleton)

    async def store(
        self,
        definition: SegmentDefinition,
        fill: Fill,
        *,
        owner: str = OPERATOR,
        image_bytes: int | None = None,
        digest: str | None = None,
    ) -> Segment:
        """Define and save in one, as an import does; `digest` is the one that the content must have.

        Raises PublishError, SpoolError; all is as it was then.
        """
        check_image(definition, image_bytes)
        async with self.exclusive:
            manifest = self._manifest(self._directory.next_spid(), saved_class(definition), definition, owner)
            write = partial(self._spool.write_content, manifest, fill, wanted_digest=digest)
            return await self._save(manifest, write, None)

    async def purge(self, select: Callable[[], Sequence[Segment]]) -> list[tuple[Segment, bool]]:
        """PURGE NSS for the files that `select` returns, transient ones included.

        Return each with whether it is in use: it stays for its users then, as class P. Raises SpoolError.
        """
        purged: list[tuple[Segment, bool]] = []

        def gone(segment: Segment) -> None:
            purged.append((segment, bool(segment.users)))
            self._directory.purge(segment)

        async with self._files:
            for segment in select():
                remove = partial(self._spool.remove, segment.spid)
                await in_thread(remove, lambda _, segment=segment: gone(segment))  # type: ignore[misc]
        return purged

    async def files_settled(self) -> None:
        """Wait until a change of the files on disk that is under way stands in the directory too."""
        async with self._files:
            pass

    async def set_aside(self, segment: Segment, reason: str) -> None:
        """Take a damaged file away from the spool and the directory, unless it was purged already."""
        async with self._files:
            if self._directory.files.get(segment.spid) is not segment:
                return

            def gone(finding: str) -> None:
                self._directory.purge(segment)
                self._findings.add_damaged(finding)

            await in_thread(partial(self._spool.set_aside, segment.spid, reason), gone)

    async def _save(self, manifest: Manifest, write: Callable[[], str], skeleton: Segment | None) -> Segment:
        """Write the content, which takes long, then make it count; or leave nothing of it."""
        entering = False
        try:
            digest = await in_thread(write)
            async with self._files:
                if skeleton is not None and self._directory.skeletons.get(skeleton.name) is not skeleton:
                    raise CommandError(messages.PURGED_MEANWHILE, name=skeleton.name)
                manifest = replace(manifest, digest=digest)
                entering = True
                return await self._enter(manifest, partial(self._spool.commit, manifest))
        except BaseException:
            if not entering:
                await in_thread(partial(self._spool.discard_content, manifest.spid))
            raise

    async def _enter(self, manifest: Manifest, write: Callable[[], None]) -> Segment:
        """Write a manifest, enter the file that it describes, and remove the one whose place that takes."""
        entered: list[Segment] = []
        replaced: list[Segment] = []

        def enter(_: None) -> None:
            entered.append(self._segment(manifest))
            older = self._directory.add(entered[0])
            if older is not None:
                replaced.append(older)

        try:
            await in_thread(write, enter)
        finally:
            for older in replaced:
                await in_thread(partial(self._spool.remove, older.spid))
        return entered[0]

    def _segment(self, manifest: Manifest) -> Segment:
        return Segment(
            manifest.definition,
            manifest.spid,
            manifest.file_class,
            manifest.owner,
            manifest.created,
            None if manifest.digest is None else self._spool.fill(manifest),
            saved_digest=manifest.digest,
        )

    def _manifest(self, spid: int, file_class: FileClass, definition: SegmentDefinition, owner: str) -> Manifest:
        self._serial += 1
        return Manifest(spid, self._serial, file_class, definition, owner, now())


def saved_class(definition: SegmentDefinition) -> FileClass:
    """Return the class of a segment once it has content."""
    return FileClass.RESTRICTED if definition.restricted else FileClass.AVAILABLE


def now() -> str:
    """Return the time in UTC as ISO 8601 writes it, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
