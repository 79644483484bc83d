"""The private memory of many processes, again and again: those that have not run since are not read anew."""

from collections.abc import Iterable
from typing import NamedTuple

from dcss.account.smaps import private_bytes
from dcss.account.turns import Turns, is_due, turns_of


class _Known(NamedTuple):
    size_bytes: int | None
    turns: Turns | None  # None where it ran while it was read


class PrivateMemory:
    """Reads processes' private memory; the kernel walks all page tables of each process that it has to read."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._looks = 0

    def sample(self, pids: Iterable[int]) -> dict[int, int | None]:
        """Return what only each process maps; None where it has ended, or this user may not see it."""
        self._looks += 1
        found = {}
        for pid in pids:
            turns = turns_of((pid,))
            known = self._known.get(pid)
            if known is None or turns is None or turns != known.turns or is_due(pid, self._looks):
                known = _Known(private_bytes(pid), turns)
            found[pid] = known
        self._known = found
        return {pid: known.size_bytes for pid, known in found.items()}
