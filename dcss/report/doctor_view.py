"""What doctor found: a judgement for each check, what it limits, and the command that mends it."""

from collections.abc import Sequence

from dcss.doctor.host import Diagnosis, State
from dcss.report.blocks import Block, Judgement, Note, Page

_INDENT = 16
_HOLDS: dict[State, bool | None] = {"ok": True, "limit": None, "missing": False}


def doctor_page(diagnoses: Sequence[Diagnosis]) -> Page:
    """Return the page of ``dcss doctor``."""
    return ([block for diagnosis in diagnoses for block in diagnosis_blocks(diagnosis)],)


def diagnosis_blocks(diagnosis: Diagnosis) -> list[Block]:
    """Return one diagnosis; the command is never wrapped, since it is there to be copied."""
    blocks: list[Block] = [Judgement(diagnosis.name, _HOLDS[diagnosis.state], diagnosis.found, _INDENT)]
    if diagnosis.limits is not None:
        blocks.append(Note(diagnosis.limits, "  limits", indent=_INDENT))
    if diagnosis.mend is not None:
        blocks.append(Note(diagnosis.mend, "  mend", indent=_INDENT, wrapped=False))
    return blocks
