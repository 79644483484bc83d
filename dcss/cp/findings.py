"""What CP found wrong by itself: damaged files of the spool, loads that failed, what it refused guests and why."""

from collections.abc import Callable
from typing import Final

_MOST_REFUSALS: Final = 100  # a guest may ask in vain for ever, and a log is not for that


class Findings:
    """One line for each; `report_to` has them reported as they come.

    A refusal is the guest's business, and need not be wrong: it is noted, and not reported.
    """

    def __init__(self) -> None:
        self.damaged: list[str] = []  # files of the spool that were set aside
        self._last_failure = ""
        self._refusals = 0
        self._report: Callable[[str], None] = lambda _: None
        self._note: Callable[[str], None] = lambda _: None

    def report_to(self, report: Callable[[str], None], note: Callable[[str], None] = lambda _: None) -> None:
        """Call `report` with each damaged file found so far and whatever is found from now on, `note` with refusals."""
        for line in self.damaged:
            report(line)
        self._report, self._note = report, note

    def add_damaged(self, line: str) -> None:
        """Note a damaged file."""
        self.damaged.append(line)
        self._report(line)

    def load_failed(self, machine: str, error: Exception) -> None:
        """Report why a virtual machine's load failed, once if it tries again and again."""
        line = f"guest {machine}: {error}"
        if line != self._last_failure:
            self._last_failure = line
            self._report(line)

    def refused(self, machine: str, call: str, return_code: int, reason: str) -> None:
        """Note what a virtual machine was refused: all that it sees is the return code."""
        self._refusals += 1
        if self._refusals <= _MOST_REFUSALS:
            self._note(f"guest {machine}: {call} gets return code {return_code}: {reason}")
        if self._refusals == _MOST_REFUSALS:
            self._note(f"{_MOST_REFUSALS} hypercalls were refused; further ones are not noted")
