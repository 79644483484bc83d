"""What is taken out of storage is freed: what is large in a thread, so that others need not wait for it."""

import threading
from typing import Any, cast

import pytest
from cp_support import define, filler

from dcss.cp.segments.objects import SMALL_BYTES, SegmentObjects
from dcss.cp.segments.segment import FileClass, Segment


class Stored:
    """Stands for an object of shared memory."""

    def __init__(self, size_bytes: int, events: list[str]) -> None:
        self.size_bytes = size_bytes
        self.events = events
        self.may_close = threading.Event()
        self.may_close.set()

    def unlink(self) -> None:
        self.events.append(f"unlink {threading.current_thread().name}")

    def close(self) -> None:
        assert self.may_close.wait(30)
        self.events.append(f"close {threading.current_thread().name}")


MAIN = threading.main_thread().name


def dropped(objects: SegmentObjects, *stored: Stored) -> Segment:
    segment = Segment(define("LIB", "20000-20000 SR"), 1, FileClass.AVAILABLE, "ME", "now", filler(b""))
    segment.stored, segment.pristine = (*cast(Any, stored), None, None)[:2]
    objects.drop(segment)
    assert segment.stored is None
    assert segment.pristine is None
    return segment


@pytest.mark.parametrize(
    ("size_bytes", "thread"), [(4096, MAIN), (SMALL_BYTES, MAIN), (SMALL_BYTES + 4096, "dcss:free")]
)
def test_what_is_large_is_freed_in_a_thread(size_bytes: int, thread: str) -> None:
    objects, events = SegmentObjects("test"), list[str]()
    dropped(objects, Stored(size_bytes, events))
    objects.close()
    assert events == [f"unlink {MAIN}", f"close {thread}"]


def test_both_objects_of_a_segment_go_and_nothing_where_there_are_none() -> None:
    objects, events = SegmentObjects("test"), list[str]()
    dropped(objects, Stored(1, events), Stored(1, events))
    assert events == [f"unlink {MAIN}", f"close {MAIN}"] * 2
    dropped(objects)
    assert len(events) == 4


def test_the_end_waits_for_what_is_being_freed() -> None:
    objects, events = SegmentObjects("test"), list[str]()
    large = [Stored(SMALL_BYTES + 4096, events) for _ in range(3)]
    for each in large:
        each.may_close.clear()
        dropped(objects, each)
    assert [event.split()[0] for event in events] == ["unlink"] * 3

    def let_go() -> None:
        for each in large:
            each.may_close.set()

    other = threading.Thread(target=let_go)
    other.start()
    objects.close()
    other.join()
    assert sorted(event.split()[0] for event in events) == ["close"] * 3 + ["unlink"] * 3


def test_where_no_thread_can_be_started_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    objects, events = SegmentObjects("test"), list[str]()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    dropped(objects, Stored(SMALL_BYTES + 4096, events))
    assert events == [f"unlink {MAIN}", f"close {MAIN}"]
    objects.close()
