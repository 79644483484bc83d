"""The records of `--evidence`: all numbers that somebody needs to compute the verdict again, and none twice."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segment_support import File
from verdict_support import USER_AREA, WINDOW, guest, segment, snapshot

from dcss.abi.pagemap import PM_FILE, PM_PRESENT
from dcss.account.maps import Vma
from dcss.account.memory_map import MappingGroup
from dcss.account.space import ObjectPages
from dcss.account.targets import SystemTarget
from dcss.results import Claim, VerifyResult
from dcss.verify import evidence as evidence_module
from dcss.verify.evidence import EvidenceFile
from dcss.verify.private_pages import PrivatePages
from dcss.verify.segment_view import SegmentView

RESULT = VerifyResult("S", "refuted", "frames", (Claim("one", False, "why", applies=True),), (), ("limit",))


def records(path: Path) -> list[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        return [json.loads(line) for line in file]


def segments() -> list[SegmentView]:
    files = (File(b"/one", ((0, 1, 2),)), File(b"/two", ((0, 3, 1),)))
    joined = ("LOW", "HIGH")
    return [segment("LOW", 4, files, joined=joined), segment("HIGH", 2, joined=joined)]


@pytest.mark.parametrize("name", ["evidence", "evidence.gz"])
def test_how_it_begins_and_ends(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    views = segments()
    entries = snapshot(views).cp_entries
    entries[0][1] = 0
    target = guest("ONE", views).target
    monkeypatch.setattr(evidence_module, "map_counts", lambda frames: frames + np.uint64(1))
    path = tmp_path / name
    for frames, level in ((True, "frames"), (False, "mappings")):
        with EvidenceFile(path, SystemTarget("S", 1, (), (target,), ()), frames=frames) as evidence:
            evidence.begin(views, entries)
            evidence.begin(views, entries)  # the second look drops the records of the first
            evidence.finish(RESULT)
        low = {
            "record": "segment",
            "segment": "LOW",
            "shm": "/LOW",
            "type": "SR",
            "pages": 4,
            "present": [1, 0, 1, 1],
            "frames": [100, 0, 102, 103],
            "map_counts": [101, 1, 103, 104] if frames else None,
            "files": [{"path": "/one", "pages": [1, 2]}, {"path": "/two", "pages": [3]}],
            "own_runs": [],
            "joined": ["LOW", "HIGH"],
        }
        high = {
            "segment": "HIGH",
            "shm": "/HIGH",
            "type": "SR",
            "pages": 2,
            "present": [1, 1],
            "frames": [104, 105],
            "map_counts": [105, 106] if frames else None,
            "files": [],
        }
        assert records(path) == [
            {"record": "system", "system": "S", "evidence": level, "page_bytes": 4096},
            {
                "record": "guest",
                "guest": "ONE",
                "engine": "process",
                "expect": "shared",
                "pids": [1],
                "window": [WINDOW.start, WINDOW.end],
                "user_area": [USER_AREA.start, USER_AREA.end],
                "in_place": False,
                "buffering": False,
                "standalone": False,
                "non_shared": [],
            },
            low,
            low | high,
            {"record": "claim", "claim": "one", "applies": True, "holds": False, "detail": "why"},
            {"record": "verdict", "verdict": "refuted", "limits": ["limit"]},
        ]
        assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "evidence"
    path.write_text("older")
    system = SystemTarget("S", 1, (), (), ())
    with pytest.raises(ZeroDivisionError), EvidenceFile(path, system, frames=False) as evidence:
        evidence.begin([], [])
        assert len(list(tmp_path.iterdir())) == 2
        raise ZeroDivisionError
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("evidence", "older")]
    with EvidenceFile(path, system, frames=False) as evidence:
        evidence.begin([], [])
        next(each for each in tmp_path.iterdir() if each != path).unlink()  # by somebody who tidied up
    assert list(tmp_path.iterdir()) == [path]
    with EvidenceFile(path, system, frames=False):
        pass


VMAS = (
    Vma(0x10000, 0x13000, "r--s", 0x1000, 1, 2, b"/dev/shm/LOW"),
    Vma(0x20000, 0x22000, "rw-p", 0x2000, 1, 2, b"/dev/shm/LOW"),
)


def found(*pages: tuple[int, int, int]) -> ObjectPages:
    """Populated pages: page, page of the object, and frame; a negative one is a page that was written privately."""
    entries = [abs(frame) | PM_PRESENT | (PM_FILE if frame > 0 else 0) for _, _, frame in pages]
    return ObjectPages(
        np.array([page for page, _, _ in pages], np.int64),
        np.array([page for _, page, _ in pages], np.int64),
        np.array(entries, np.uint64),
    )


def test_mappings_of_a_process(tmp_path: Path) -> None:
    path = tmp_path / "evidence"
    view = segments()[0]
    group = MappingGroup.of(VMAS)
    whole = found((0x10, 1, 7), (0x12, 3, 8), (0x21, 3, -9))
    with EvidenceFile(path, SystemTarget("S", 1, (), (), ()), frames=True) as evidence:
        evidence.begin([], [])
        evidence.mappings(11, "ONE", view, group, whole)
        evidence.mappings(12, "TWO", view, group, whole)  # the same again
        evidence.mappings(13, "TWO", view, group, found((0x10, 1, 7), (0x12, 3, 6), (0x21, 3, -9)))
        evidence.mappings(14, "TWO", view, group, found((0x10, 1, 7), (0x12, 3, 6), (0x21, 3, 9)))
        evidence.mappings(15, "TWO", view, MappingGroup.of(VMAS[:1]), found())
        evidence.mappings(16, "TWO", view, MappingGroup.of(()), found())  # none: no record
        evidence.finish(RESULT)

    def mappings(frames: list[int], present: list[int]) -> list[dict[str, Any]]:
        return [
            {
                "address": 0x10000,
                "permissions": "r--s",
                "segment_page": 1,
                "frames": frames[:3],
                "present": present[:3],
            },
            {
                "address": 0x20000,
                "permissions": "rw-p",
                "segment_page": 2,
                "frames": frames[3:],
                "present": present[3:],
            },
        ]

    kept = [each for each in records(path) if each["record"] == "mappings"]
    assert [(each["pid"], each["role"], each["segment"]) for each in kept] == [
        (11, "ONE", "LOW"),
        *((pid, "TWO", "LOW") for pid in (12, 13, 14, 15)),
    ]
    first = mappings([7, 0, 8, 0, 9], [1, 0, 1, 0, 0])
    assert [each["mappings"] for each in kept] == [
        first,
        first,
        mappings([7, 0, 6, 0, 9], [1, 0, 1, 0, 0]),
        mappings([7, 0, 6, 0, 9], [1, 0, 1, 0, 1]),
        mappings([0, 0, 0], [0, 0, 0])[:1],
    ]


def test_strangers(tmp_path: Path) -> None:
    path = tmp_path / "evidence"
    with EvidenceFile(path, SystemTarget("S", 1, (), (), ()), frames=True) as evidence:
        evidence.begin([], [])
        evidence.foreign_mappings("ONE", 11, VMAS)
        evidence.intruders("TWO", 12, [PrivatePages(12, 0x3000, 4)])
        evidence.finish(RESULT)
    assert [each for each in records(path) if each["record"] == "stranger"] == [
        {"record": "stranger", "guest": "ONE", "pid": 11, "address": 0x10000, "pages": 3, "path": "/dev/shm/LOW"},
        {"record": "stranger", "guest": "ONE", "pid": 11, "address": 0x20000, "pages": 2, "path": "/dev/shm/LOW"},
        {"record": "stranger", "guest": "TWO", "pid": 12, "address": 0x3000, "pages": 4, "path": ""},
    ]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 7])
def test_long_arrays_are_written_piece_by_piece(length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "_NUMBERS_AT_ONCE", 3)
    path = tmp_path / f"evidence{os.getpid()}"
    numbers = np.arange(length, dtype=np.uint64) << np.uint64(60)
    with EvidenceFile(path, SystemTarget("S", 1, (), (), ()), frames=True) as evidence:
        evidence.begin([], [])
        evidence.add("x", numbers=numbers, flags=numbers != 0, nested=[{"a": numbers}, {"b": [1]}], empty={})
        evidence.finish(RESULT)
    plain = numbers.tolist()
    assert records(path)[1] == {
        "record": "x",
        "numbers": plain,
        "flags": [int(number != 0) for number in plain],
        "nested": [{"a": plain}, {"b": [1]}],
        "empty": {},
    }
