"""What a proof derives from segments is kept for the next one of the very same content, and for no other."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from segment_support import random_content, unmapped

from dcss.abi.page import PAGE_SIZE
from dcss.verify.cache import ContentCache
from dcss.verify.search.page_contents import Contents
from dcss.verify.segment_view import SegmentView


def published(seed: int = 1, name: str = "LIB", digest: str | None = "sha256:1") -> SegmentView:
    view = unmapped(random_content(4, seed), name=name)
    return replace(view, target=replace(view.target, digest=digest))


def contents(cache: ContentCache, *segments: SegmentView) -> Contents:
    return cache.searcher(segments).contents


def test_the_same_segments_are_examined_once() -> None:
    cache, segments = ContentCache(), (published(), published(2, "APP"))
    first = cache.searcher(segments)
    again = cache.searcher([replace(segment) for segment in segments])  # each proof looks at them anew
    assert again.contents is first.contents


@pytest.mark.parametrize(
    "change",
    [
        lambda view: replace(view, object=(1, 3)),
        lambda view: replace(view, target=replace(view.target, name="NEW")),
        lambda view: replace(view, target=replace(view.target, digest="sha256:2")),
        lambda view: replace(view, target=replace(view.target, size_bytes=3 * PAGE_SIZE)),
        lambda _: published(2),
    ],
    ids=["object", "name", "digest", "size", "descriptor"],
)
def test_another_segment_is_examined(change: Callable[[SegmentView], SegmentView]) -> None:
    cache, segment = ContentCache(), published()
    first = contents(cache, segment)
    other = change(segment)
    assert contents(cache, other) is not first
    assert contents(cache, segment) is not first  # the last set only is kept


def test_more_fewer_and_other_orders_of_segments_are_other_sets() -> None:
    cache, one, two = ContentCache(), published(), published(2, "APP")
    seen = [contents(cache, *segments) for segments in ([one], [one, two], [two, one], [two], [])]
    assert len({id(each) for each in seen}) == len(seen)


def test_nothing_is_kept_of_a_segment_whose_content_may_change() -> None:
    cache, written = ContentCache(), published(digest=None)
    assert contents(cache, written) is not contents(cache, written)
    assert contents(cache, published(), written) is not contents(cache, published(), written)


def test_nothing_is_kept_of_a_segment_that_was_cut_short() -> None:
    cache, segment = ContentCache(), published()
    first = contents(cache, segment)
    os.ftruncate(segment.target.descriptor, PAGE_SIZE)
    cut = contents(cache, segment)
    assert cut is not first
    assert contents(cache, segment) is not cut
    os.ftruncate(segment.target.descriptor, segment.target.size_bytes)
    assert contents(cache, segment) is not cut


def test_what_is_cleared_is_examined_again() -> None:
    cache, segment = ContentCache(), published()
    first = contents(cache, segment)
    cache.clear()
    assert contents(cache, segment) is not first
