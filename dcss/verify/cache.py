"""What a proof derives from the segments' content alone, kept for the next proof of the same versions."""

from collections.abc import Sequence

from dcss.verify.search.anchors import Anchors
from dcss.verify.search.page_contents import Contents
from dcss.verify.search.searcher import Searcher
from dcss.verify.segment_view import SegmentView, lost_contents

_Key = tuple[tuple[object, ...], ...]


class ContentCache:
    """Keeps the page contents and anchors of one set of segments, the last; with another set they are dropped.

    Nothing is kept of segments without a digest, whose content may change. What is kept refers to the segments'
    objects, and is used only for the same ones.
    """

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._kept: tuple[Contents, Anchors] | None = None

    def searcher(self, segments: Sequence[SegmentView]) -> Searcher:
        """Return a searcher for the content of `segments`, which must be what their digests say."""
        key: _Key = tuple(
            (segment.object, segment.name, segment.target.descriptor, segment.target.size_bytes, segment.target.digest)
            for segment in segments
        )
        whole = not lost_contents(segments)
        if self._kept is None or key != self._key or not whole:
            self.clear()
            contents = Contents.of(segments)
            self._kept = contents, Anchors.of(contents)
            same_next_time = whole and all(segment.target.digest is not None for segment in segments)
            self._key = key if same_next_time else None
        return Searcher(*self._kept)

    def clear(self) -> None:
        """Drop what is kept."""
        self._key = self._kept = None
