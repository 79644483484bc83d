"""The page of `dcss inspect`: objects and others are folded, lines add up, and what is unknown is never 0."""

from dcss.report.layout import render_page
from dcss.report.pages import inspect_page
from dcss.report.style import Style
from dcss.results import (
    Claim,
    FileProof,
    InspectedObject,
    InspectedProcess,
    InspectResult,
    MeasureResult,
    OtherMapper,
    Totals,
    VerifyResult,
)

PIDS = (11, 12)
OTHERS = tuple(OtherMapper(100 + number, "sh") for number in range(6))


def result(objects: int = 1, *, unread: str | None = None) -> InspectResult:
    """Return what was found of two processes, of which the second one's memory may not be read."""
    paths = [f"/lib/{number:02d}" for number in range(objects)]
    names = tuple(map(str, PIDS))
    files = tuple(FileProof(path, path, 4, 3, names, 3, True) for path in paths)
    rows = [InspectedObject(path, "8:1", 7, 16384, PIDS, OTHERS, 3, ((0, 3),)) for path in paths]
    if unread is not None:
        rows.append(InspectedObject("/secret", None, None, None, (), (), None, (), unread))
    limits = () if unread is None else (f"/secret cannot be read: {unread}",)
    claims = (Claim("one-frame-per-page", True, "3 pages"),)
    return InspectResult(
        VerifyResult("inspect", "verified", "frames", claims, files, limits),
        MeasureResult("inspect", (), (), Totals(16384, 32768, 16384)),
        tuple(rows),
        (
            InspectedProcess(11, "one", 1_234_567, 7_654_321, 8_888_888, 12_288, 4_096),
            InspectedProcess(12, "two", None, None, None, None, None),
        ),
    )


def page(found: InspectResult, *, show_all: bool = False) -> str:
    return render_page(inspect_page(found, show_all=show_all), Style())


def test_verdict_comes_first_and_speaks_of_processes() -> None:
    assert page(result()).splitlines()[0] == (
        "VERIFIED  inspect: 2 processes share 1 file, 12.0 KiB, each page in one frame"
    )


def test_a_line_adds_up_as_it_is_printed_and_unknown_is_not_0() -> None:
    one, two = (line.split() for line in page(result()).splitlines() if line.lstrip().startswith(("11 ", "12 ")))
    assert one == ["11", "one", "1.18", "+", "7.30", "=", "8.48", "0.01", "0.00"]
    assert two == ["12", "two", "n/a", "+", "n/a", "=", "n/a", "n/a", "n/a"]


def test_many_objects_and_others_are_folded() -> None:
    found = result(25)
    folded, whole = page(found), page(found, show_all=True)
    assert "and 5 more objects (-v shows all)" in folded
    assert "100 (sh), 101 (sh), 102 (sh), 103 (sh) and 2 more (-v shows all)" in folded
    assert "/lib/24" not in folded
    assert "/lib/24" in whole
    assert "105 (sh)" in whole


def test_what_could_not_be_read_is_named() -> None:
    assert "/secret cannot be read: it takes CAP_SYS_ADMIN" in page(result(unread="it takes CAP_SYS_ADMIN"))
