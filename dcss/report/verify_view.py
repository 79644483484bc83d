"""A verdict as text: what is proved in one line, then each claim with its mark, then what spoils it."""

from dcss.abi.page import PAGE_SIZE
from dcss.report.layout import Column, paint_first, prose, table, visible
from dcss.report.style import Style
from dcss.report.units import fmt_bytes, fmt_count
from dcss.results import Claim, FileProof, VerifyResult

_UNSHARED_SHOWN = 10
NOTE_INDENT = 13  # of what stands at the foot of a page
_PLAIN_MARK = "*"  # stands for a mark while lines are laid out: one column wide, as every mark is
_METHODS = {
    "frames": "page frames, from /proc/PID/pagemap and /proc/kpagecount",
    "mappings": "device, inode and offset of the guests' mappings; page frames could not be seen",
}


def verdict_lines(result: VerifyResult, style: Style) -> list[str]:
    """Return the verdict in one sentence."""
    verdict = result.verdict.upper()
    lines = prose(f"{result.system}: {_sentence(result)}", style, first=verdict, indent=len(verdict) + 2)
    return paint_first(lines, verdict, style.good if result.verdict == "verified" else style.bad)


def _sentence(result: VerifyResult) -> str:
    refuted = [claim.claim for claim in result.claims if claim.holds is False]
    if refuted:
        return f"{' and '.join(refuted)} {'does' if len(refuted) == 1 else 'do'} not hold"
    if result.verdict == "refuted":
        return "sharing is not proved"
    guests = {guest for file in result.files for guest in file.guests}
    pages = sum(file.pages for file in result.files)
    where = "each page in one frame" if result.evidence == "frames" else "all from the same object"
    return (
        f"{fmt_count(len(guests), 'guest shares', 'guests share')} {fmt_count(len(result.files), 'file')},"
        f" {fmt_bytes(pages * PAGE_SIZE)}, {where}"
    )


def claim_lines(result: VerifyResult, style: Style) -> list[str]:
    """Return one entry per claim: mark, name and detail."""
    indent = 4 + max((len(claim.claim) for claim in result.claims), default=0) + 2
    return [line for claim in result.claims for line in _claim_lines(claim, style, indent)]


def _claim_lines(claim: Claim, style: Style, indent: int) -> list[str]:
    plain = f"  {_PLAIN_MARK}"
    lines = prose(claim.detail, style, first=f"{plain} {claim.claim}", indent=indent)
    return paint_first(lines, plain, lambda _: f"  {style.mark(claim.holds)}")


def file_lines(result: VerifyResult, style: Style, *, show_all: bool) -> list[str]:
    """Return a table of the files: those that are not shared or, with `show_all`, every one."""
    files = result.files if show_all else [file for file in result.files if not file.shared]
    if not files:
        return []
    shown = files if show_all else files[:_UNSHARED_SHOWN]
    columns = [
        Column(""),
        Column("PAGES", right=True),
        Column("CHECKED", right=True),
        Column("FRAMES", right=True),
        Column("GUESTS", right=True),
        Column("SEGMENT"),
        Column("FILE"),
    ]
    head, *lines = table(columns, [_file_row(file) for file in shown], style)
    # Marks are painted after the table is laid out: colour codes have no width.
    painted = [
        style.mark(file.shared) + line.removeprefix(_PLAIN_MARK) for file, line in zip(shown, lines, strict=True)
    ]
    more = len(files) - len(shown)
    return [head, *painted, *([f"and {fmt_count(more, 'more file')} (-v shows all)"] if more else [])]


def _file_row(file: FileProof) -> list[str]:
    frames = "n/a" if file.distinct_frames is None else f"{file.distinct_frames:,}"
    return [
        _PLAIN_MARK,
        f"{file.pages:,}",
        f"{file.checked_pages:,}",
        frames,
        str(len(file.guests)),
        file.segment,
        visible(file.path),
    ]


def method_lines(result: VerifyResult, style: Style) -> list[str]:
    """Return what the verdict rests on."""
    text = f"{_METHODS[result.evidence]}; {result.cpu_seconds:.2f} s of CPU"
    return prose(text, style, first="proved by", indent=NOTE_INDENT)
