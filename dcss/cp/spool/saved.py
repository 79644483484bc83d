"""DEFSEG, SAVESEG and PURGE NSS: changes of the directory that the spool keeps; the disk changes first."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.cp.console import messages
from dcss.cp.console.messages import CommandError
from dcss.cp.segments.content import Fill, check_image
from dcss.cp.segments.directory import Directory
from dcss.cp.segments.segment import OPERATOR, FileClass, Segment
from dcss.cp.spool.manifest import Manifest
from dcss.cp.spool.spool import Spool
from dcss.cp.steps import Steps, run_to_completion


class SavedSegments:
    """The system data files of `directory` that `spool` keeps, those found there included.

    One definition or save runs at a time, a second waits (CPREF, DEFSEG), and so does an export. Loads, queries and
    purges go on meanwhile.
    """

    def __init__(self, directory: Directory, spool: Spool) -> None:
        self._directory = directory
        self._spool = spool
        self._serial = 0
        self._busy = False
        for manifest in spool.recover():
            self._serial = max(self._serial, manifest.serial)
            directory.add(self._segment(manifest))

    def turn(self) -> Steps[None]:
        """Wait until no other definition, save or export is under way."""
        while self._busy:
            yield None

    def define(self, definition: SegmentDefinition, *, owner: str = OPERATOR) -> Segment:
        """DEFSEG: enter a skeleton, in place of an older skeleton of that name. Raises SpoolError.

        `turn` comes before it.
        """
        manifest = self._manifest(self._directory.next_spid(), FileClass.SKELETON, definition, owner)
        self._spool.write(manifest)
        return self._enter(manifest)

    def save(self, name: SegmentName, fill: Fill, *, owner: str = OPERATOR, drop: bool = False) -> Segment:
        """Do `save_steps` at once."""
        return run_to_completion(self.save_steps(name, fill, owner=owner, drop=drop))

    def save_steps(self, name: SegmentName, fill: Fill, *, owner: str = OPERATOR, drop: bool = False) -> Steps[Segment]:
        """SAVESEG: give the skeleton of `name` its content; it takes the place of the available segment of that name.

        An older version in use stays for its users, as class P. What `fill` writes where the types keep nothing is an
        error, or with `drop` made zero. Raises KeyError where no skeleton is defined, PublishError, and SpoolError,
        after which everything is as it was; what `fill` raises passes through likewise. Raises CommandError where the
        skeleton was purged meanwhile: nothing is left of it then.
        """
        yield from self.turn()
        skeleton = self._directory.skeletons[name]
        return (yield from self._save(skeleton.spid, skeleton.definition, fill, owner, skeleton=skeleton, drop=drop))

    def store(
        self,
        definition: SegmentDefinition,
        fill: Fill,
        *,
        owner: str = OPERATOR,
        image_bytes: int | None = None,
        digest: str | None = None,
    ) -> Segment:
        """Do `store_steps` at once."""
        return run_to_completion(
            self.store_steps(definition, fill, owner=owner, image_bytes=image_bytes, digest=digest)
        )

    def store_steps(
        self,
        definition: SegmentDefinition,
        fill: Fill,
        *,
        owner: str = OPERATOR,
        image_bytes: int | None = None,
        digest: str | None = None,
    ) -> Steps[Segment]:
        """Define and save in one, as an import does; `digest` is the one that the content must have.

        Raises PublishError, SpoolError; all is as it was then.
        """
        check_image(definition, image_bytes)
        yield from self.turn()
        return (yield from self._save(self._directory.next_spid(), definition, fill, owner, digest=digest))

    def purge(self, segment: Segment) -> None:
        """PURGE NSS for one file, transient ones included: gone at once, or with its last user. Raises SpoolError."""
        self._spool.remove(segment.spid)
        self._directory.purge(segment)

    def _save(
        self,
        spid: int,
        definition: SegmentDefinition,
        fill: Fill,
        owner: str,
        *,
        skeleton: Segment | None = None,
        digest: str | None = None,
        drop: bool = False,
    ) -> Steps[Segment]:
        manifest = self._manifest(spid, saved_class(definition), definition, owner)
        found: list[str] = []
        with self.alone():
            self._spool.open_for(manifest)
            try:
                yield lambda: found.append(self._spool.write_content(manifest, fill, wanted_digest=digest, drop=drop))
                if skeleton is not None and self._directory.skeletons.get(skeleton.name) is not skeleton:
                    raise CommandError(messages.PURGED_MEANWHILE, name=skeleton.name)
            except BaseException:
                self._spool.discard_content(spid)
                raise
            manifest = replace(manifest, digest=found[0])
            self._spool.commit(manifest)
            return self._enter(manifest)

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        """Let no other definition, save or export begin; `turn` comes before it."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _enter(self, manifest: Manifest) -> Segment:
        segment = self._segment(manifest)
        older = self._directory.add(segment)
        if older is not None:
            self._spool.remove(older.spid)
        return segment

    def _segment(self, manifest: Manifest) -> Segment:
        return Segment(
            manifest.definition,
            manifest.spid,
            manifest.file_class,
            manifest.owner,
            manifest.created,
            None if manifest.digest is None else self._spool.fill(manifest.spid),
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
