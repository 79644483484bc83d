"""Folded stacks for flame graphs: `guest;segment;file bytes`, and what each guest has for itself alone."""

from collections.abc import Iterator

from dcss.abi.page import PAGE_SIZE
from dcss.results import MeasureResult, VerifyResult

_PRIVATE = "private"


def folded_stacks(verdict: VerifyResult, account: MeasureResult) -> Iterator[str]:
    """Yield a line for each file that a guest maps, and one for its private memory where that could be seen.

    A file counts with its pages that are present in every guest that maps it.
    """
    for guest in account.guests:
        for file in verdict.files:
            if guest.name in file.guests and file.checked_pages:
                stack = ";".join(map(_frame, (guest.name, file.segment, file.path)))
                yield f"{stack} {file.checked_pages * PAGE_SIZE}"
        if guest.host.uss_bytes is not None:
            yield f"{_frame(guest.name)};{_PRIVATE} {guest.host.uss_bytes}"


def _frame(name: str) -> str:
    """Return a name as one frame of a stack: neither `;` nor the end of a line may stand in it."""
    escaped = name.replace("\\", "\\\\").replace(";", "\\x3b")
    return "".join(each if each >= " " else f"\\x{ord(each):02x}" for each in escaped)
