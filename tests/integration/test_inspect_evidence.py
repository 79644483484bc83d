"""`dcss inspect --evidence`: the verdict is computed again from the file, by the way that all evidence is."""

import mmap
import random
from pathlib import Path

import evidence_support
import pytest
from claim_support import NO_COPIES, ONE_FRAME
from evidence_schema_support import check_evidence
from needs_support import needs
from peers_support import peers

from dcss.api.evidence import Evidence
from dcss.inspect import looks
from dcss.inspect.inspection import inspect
from dcss.inspect.selection import Wanted
from dcss.results import VerifyResult

PAGES = 16


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.write_bytes(random.Random(20).randbytes(PAGES * mmap.PAGESIZE))
    return path


def judged(result: VerifyResult) -> dict[str, bool | None]:
    return {claim.claim: claim.holds for claim in result.claims}


@pytest.mark.parametrize("second", ["map", "private", "change", "rewrite", "copy", "untouched"])
@pytest.mark.parametrize("named", [True, False])
def test_the_same_verdict_follows_from_the_evidence(tmp_path: Path, file: Path, second: str, named: bool) -> None:
    path = tmp_path / "evidence.json.gz"
    wanted = Wanted((str(file),)) if named else Wanted()
    with peers(f"map={file}", f"{second}={file}") as found:
        result = inspect([peer.pid for peer in found], wanted, evidence_path=path).verify
    check_evidence(path)
    again = Evidence(path).recompute()
    assert judged(again) == judged(result)
    assert again.verdict == result.verdict
    assert again.files == result.files


@needs("frames")
def test_others_compute_the_same(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "evidence.json"
    with peers(f"map={file}", f"change={file}") as found:
        inspect([peer.pid for peer in found], Wanted((str(file),)), evidence_path=path)
    records = evidence_support.read(path)
    assert evidence_support.one_frame_per_page(records)
    assert evidence_support.books_close(records)


@needs("frames")
def test_a_frame_that_was_changed_in_the_evidence_refutes(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "evidence.json"
    with peers(f"map={file}", f"map={file}") as found:
        inspect([peer.pid for peer in found], Wanted((str(file),)), evidence_path=path)
    frames = next(iter(Evidence(path).records("segment")))["frames"]
    assert judged(Evidence(path).recompute())[ONE_FRAME] is True
    lines = path.read_text().splitlines(keepends=True)
    place = next(
        place for place, line in enumerate(lines) if f'"role": "{found[1].pid}"' in line and "mappings" in line
    )
    lines[place] = lines[place].replace(str(frames[3]), str(frames[3] + 1))
    path.write_text("".join(lines))
    assert judged(Evidence(path).recompute())[ONE_FRAME] is False


def test_what_was_left_open_stays_open(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "evidence.json"
    monkeypatch.setattr(looks, "MOST_LOOKS", 1)
    with peers(f"map={file}", f"map={file}") as found:
        result = inspect([peer.pid for peer in found], Wanted((str(file),)), evidence_path=path).verify
    assert result.verdict == "unproved"
    assert "open" in check_evidence(path)
    again = judged(Evidence(path).recompute())
    assert (again[ONE_FRAME], again[NO_COPIES]) == (None, None)
