"""A verdict: what is proved in one sentence, each claim, the files, and what the verdict rests on."""

from dcss.abi.page import PAGE_SIZE
from dcss.report.blocks import Block, Cell, Column, Judgement, Mark, Note, Row, Table, Tone, count_cell, text_cell
from dcss.report.shortened import shortened
from dcss.report.units import fmt_bytes, fmt_count
from dcss.results import Claim, FileProof, VerifyResult

NOTE_INDENT = 13  # of the notes at the foot of a page
_UNSHARED_SHOWN = 10
_HINTS_SHOWN = 5
_HINT_INDENT = 10
_METHODS = {
    "frames": "page frames, from /proc/PID/pagemap and /proc/kpagecount",
    "mappings": "device, inode and offset of the guests' mappings; page frames could not be seen",
}
Nouns = tuple[str, str]  # one, many
_FILE_COLUMNS = (
    Column(""),
    Column("PAGES", right=True),
    Column("CHECKED", right=True),
    Column("FRAMES", right=True),
    Column("GUESTS", right=True),
    Column("SEGMENT"),
    Column("FILE"),
)


def verdict_note(result: VerifyResult, who: Nouns = ("guest", "guests")) -> Note:
    """Return the verdict in one sentence about `who`."""
    verdict = result.verdict.upper()
    if result.verdict != "verified":
        tone: Tone = "bad"
    else:
        tone = "doubtful" if result.hints else "good"
    return Note(f"{result.system}: {verdict_sentence(result, *who)}", verdict, tone, len(verdict) + 2)


def verdict_sentence(result: VerifyResult, one: str = "guest", many: str = "guests") -> str:
    """Return what the verdict says of the system, or which claims keep it from being verified."""
    refuted = [claim.claim for claim in result.claims if claim.holds is False]
    if refuted:
        return f"{' and '.join(refuted)} {'does' if len(refuted) == 1 else 'do'} not hold"
    if result.verdict == "unproved":
        unknown = [claim.claim for claim in result.claims if claim.applies and claim.holds is None]
        return f"{' and '.join(unknown)} could not be judged" if unknown else f"there is no {one} to judge"
    if not result.files:
        return f"every claim that applies holds; no {one} shares"
    # What one guest alone maps is shared with nobody.
    files = [file for file in result.files if len(file.guests) > 1]
    if not files:
        return f"every claim that applies holds; no two {many} map the same file"
    guests = {guest for file in files for guest in file.guests}
    pages = sum(file.checked_pages for file in files)
    where = "each page in one frame" if result.evidence == "frames" else "all from the same object"
    return (
        f"{fmt_count(len(guests), f'{one} shares', f'{many} share')} {fmt_count(len(files), 'file')},"
        f" {fmt_bytes(pages * PAGE_SIZE)}, {where}"
    )


def hint_notes(result: VerifyResult, *, show_all: bool) -> list[Note]:
    """Return what to look at first, before the claims' reasons."""
    shown, more = shortened(result.hints, _HINTS_SHOWN, "hint", show_all=show_all, indent=_HINT_INDENT)
    return [*(Note(hint, "look at", "doubtful", _HINT_INDENT) for hint in shown), *more]


def claim_judgements(result: VerifyResult) -> list[Judgement]:
    """Return one entry per claim: whether it holds, its name and its detail."""
    indent = 4 + max((len(claim.claim) for claim in result.claims), default=0) + 2
    return [Judgement(claim.claim, claim.holds, _detail(claim), indent, mark_indent=2) for claim in result.claims]


def _detail(claim: Claim) -> str:
    return claim.detail if claim.applies else f"does not apply: {claim.detail}"


def file_blocks(result: VerifyResult, *, show_all: bool) -> list[Block]:
    """Return a table of the files: those that are not shared or, with `show_all`, every one."""
    files = result.files if show_all else [file for file in result.files if not file.shared]
    if not files:
        return []
    shown, more = shortened(files, _UNSHARED_SHOWN, "file", show_all=show_all)
    return [Table(_FILE_COLUMNS, tuple(_file_row(file) for file in shown)), *more]


def _file_row(file: FileProof) -> Row:
    return (
        Mark(file.shared),
        count_cell(file.pages),
        count_cell(file.checked_pages),
        count_cell(file.distinct_frames),
        Cell(str(len(file.guests)), len(file.guests)),
        text_cell(file.segment),
        text_cell(file.path),
    )


def method_note(result: VerifyResult) -> Note:
    """Return what the verdict rests on."""
    text = f"{_METHODS[result.evidence]}; {result.cpu_seconds:.2f} s of CPU"
    return Note(text, "proved by", indent=NOTE_INDENT)
