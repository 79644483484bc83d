"""The files of a file system in all guests that share: which guest maps which file, and what became of its pages."""

from dataclasses import dataclass

import numpy as np

from dcss.account.pagemap import Flags, Pages
from dcss.results import FileProof
from dcss.verify.snapshot import GuestView, SegmentPages, Snapshot
from dcss.verify.volumes import VolumeView


@dataclass(frozen=True, slots=True, eq=False)
class FileTally:
    """One file system's files (columns) in each guest (rows): is any page mapped, and how many are in a wrong frame?

    Guests in which its segments look alike have one row: `row_of` says which.
    """

    volume: VolumeView
    row_of: list[int]
    rows: list[SegmentPages]
    mapped: Flags
    wrong: Pages

    @classmethod
    def of(cls, volume: VolumeView, guests: list[GuestView]) -> "FileTally":
        """Count the pages of each file in each of `guests`."""
        parts_of = [tuple(guest.segments[place] for place in volume.places) for guest in guests]
        identities = [tuple(map(id, parts)) for parts in parts_of]
        distinct = dict(zip(identities, parts_of, strict=True))
        row_by_identity = {identity: row for row, identity in enumerate(distinct)}
        rows = [SegmentPages.joined(parts) for parts in distinct.values()]

        def by_file(pages: list[Flags]) -> Pages:
            counts = [volume.files.count(flags) for flags in pages]
            return np.array(counts, np.int64).reshape(len(rows), len(volume.files.paths))

        return cls(
            volume,
            [row_by_identity[identity] for identity in identities],
            rows,
            by_file([row.mapped for row in rows]) > 0,
            by_file([row.wrong for row in rows]),
        )


def visible_sharing(snapshot: Snapshot) -> list[GuestView]:
    """Return the guests that should share and whose books could be read."""
    return [guest for guest in snapshot.sharing if guest.denied is None]


def file_tallies(snapshot: Snapshot) -> list[FileTally]:
    """Count the pages of every file system's files in the guests of `visible_sharing`, in their order."""
    guests = visible_sharing(snapshot)
    return [FileTally.of(volume, guests) for volume in snapshot.volumes]


def file_proofs(snapshot: Snapshot, tallies: list[FileTally]) -> list[FileProof]:
    """Return what was proved of every file that a guest maps."""
    names = [guest.target.name for guest in visible_sharing(snapshot)]
    return [proof for tally in tallies for proof in _proofs(tally, names, frames=snapshot.frames)]


def _proofs(tally: FileTally, names: list[str], *, frames: bool) -> list[FileProof]:
    files = tally.volume.files
    checked = checked_pages(tally)
    whole = np.array([not damage for damage in files.damage], np.bool_)
    shared = ((tally.wrong == 0) | ~tally.mapped).all(axis=0) & (checked > 0) & whole
    distinct_frames = _distinct_frames(tally) if frames else None
    names_of: dict[bytes, tuple[str, ...]] = {}
    proofs = []
    for file in np.flatnonzero(tally.mapped.any(axis=0)).tolist():
        mapped = tally.mapped[:, file]
        # A thousand guests map most files alike: one tuple of their names serves them all.
        key = mapped.tobytes()
        if key not in names_of:
            names_of[key] = tuple(name for name, row in zip(names, tally.row_of, strict=True) if mapped[row])
        proofs.append(
            FileProof(
                segment=tally.volume.segments_of(file),
                path=files.paths[file],
                pages=int(files.counts[file]),
                checked_pages=int(checked[file]),
                guests=names_of[key],
                distinct_frames=None if distinct_frames is None else int(distinct_frames[file]),
                shared=bool(shared[file]),
            )
        )
    return proofs


def checked_pages(tally: FileTally) -> Pages:
    """Count the pages of each file that are present in every guest that maps the file.

    Where guests use files in place, a page counts that is present in any, and in every guest that maps the whole file.
    """
    return tally.volume.files.count(_present_in_all(tally))


def _present_in_all(tally: FileTally) -> Flags:
    """Say which pages of the file system are present in every guest that maps their file."""
    files = tally.volume.files
    everywhere, anywhere = np.ones(tally.volume.pages, np.bool_), np.zeros(tally.volume.pages, np.bool_)
    for row, mapped in zip(tally.rows, tally.mapped, strict=True):
        concerned = row.mapped
        if not row.by_page:
            # A guest that does not map a file says nothing about its pages.
            concerned = np.zeros(tally.volume.pages, np.bool_)
            concerned[files.pages[np.repeat(mapped, files.counts)]] = True
        present = row.proved | row.wrong
        everywhere &= present | ~concerned
        anywhere |= present & concerned
    return everywhere & anywhere


def _distinct_frames(tally: FileTally) -> Pages:
    """Count for each file the frames that its pages stand in, over all guests: CP's, and those of wrong pages."""
    files = tally.volume.files
    proved = np.zeros(tally.volume.pages, np.bool_)
    for row in tally.rows:
        proved |= row.proved
    distinct = files.count(proved)
    strange = [pair for row in tally.rows for pair in row.strange]
    if strange:
        owners = files.owner[np.concatenate([pages for pages, _ in strange])]
        frames = np.concatenate([found for _, found in strange]).astype(np.int64)
        pairs = np.unique(np.stack((owners, frames)), axis=1)
        known = pairs[0][(pairs[0] >= 0) & (pairs[1] > 0)]  # a page in swap has no frame
        distinct = distinct + np.bincount(known, minlength=len(files.paths))
    return distinct
