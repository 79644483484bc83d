"""Sockets that are on their way in messages which nobody can receive any more (net/unix/garbage.c).

A socket whose only holders are messages is lost where those wait in sockets that are lost themselves, as that of a
socket which was sent to itself. Nothing would ever close them.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from vmguest.fs.open import FileDescription

_FEWEST = 64


class Receiver(Protocol):
    """A socket with messages that nobody has received."""

    def waiting_files(self) -> Iterable[FileDescription]:
        """Return the open files beside its messages."""
        ...

    def drop_files(self) -> None:
        """Close the open files beside its messages."""
        ...


class InFlight:
    """The sockets of a guest that have open files in their messages."""

    def __init__(self) -> None:
        self._receivers: dict[Receiver, None] = {}
        self._collecting = False
        self._collected_at = _FEWEST  # when there are as many, it is looked after them

    def sent(self, receiver: Receiver) -> None:
        """Note that a message with open files waits in a socket."""
        self._receivers[receiver] = None
        if len(self._receivers) >= self._collected_at:
            self.collect()
            self._collected_at = max(_FEWEST, 2 * len(self._receivers))

    def collect(self) -> None:
        """Close what is on its way to nobody: called too when a socket was closed, which may be why."""
        if self._collecting or not self._receivers:
            return
        waiting = {each: tuple(each.waiting_files()) for each in self._receivers}
        self._receivers = {each: None for each, files in waiting.items() if files}
        lost = self._lost(waiting)
        if not lost:
            return
        self._collecting = True
        try:
            for receiver in lost:
                receiver.drop_files()
        finally:
            self._collecting = False

    def _lost(self, waiting: dict[Receiver, tuple[FileDescription, ...]]) -> list[Receiver]:
        """Return the sockets with such messages that no program can reach."""
        counts = Counter(file for files in waiting.values() for file in files)
        # By their files, the sockets that only messages hold: what reaches one of them is another such message.
        kept_by_messages = {id(each.file) for each, count in counts.items() if each.holders == count}
        receivers = {id(each): each for each in waiting}
        reached = [each for number, each in receivers.items() if number not in kept_by_messages]
        seen = set(reached)
        while reached:
            for file in waiting[reached.pop()]:
                found = receivers.get(id(file.file))
                if found is not None and found not in seen:
                    seen.add(found)
                    reached.append(found)
        return [each for each in waiting if each not in seen]
