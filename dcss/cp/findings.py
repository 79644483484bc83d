"""What CP found wrong by itself: damaged files of the spool, loads that failed."""

from collections.abc import Callable


class Findings:
    """One line for each; `report_to` has them reported as they come."""

    def __init__(self) -> None:
        self.damaged: list[str] = []  # files of the spool that were set aside
        self._last_failure = ""
        self._report: Callable[[str], None] = lambda _: None

    def report_to(self, report: Callable[[str], None]) -> None:
        """Call `report` with each damaged file found so far, and with whatever is found from now on."""
        for line in self.damaged:
            report(line)
        self._report = report

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
