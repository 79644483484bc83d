"""Guests that load and purge segments at random through their own sysfs, and an operator who saves new versions."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcss.errors import LaunchError
from dcss.host.paths import runtime_directory
from dcss.rpc.client import Client
from dcss.rpc.protocol import Output

SYSFS = "/sys/devices/dcssblk"
SEGMENT_BYTES = 1 << 17
_PAGES = SEGMENT_BYTES >> 12
# Two of them exist for each of EN, SN and SC, whose content the spool does not keep, and more of the others.
_TYPES = ("SR", "ER", "EW", "SW", "SR", "ER", "EW", "SW", "SR", "ER", "EW", "SW", "SR", "ER", "SN", "EN", "SC", "SN")
# What dcssblk answers where another actor was first: it has it, it has it not, or there is no such segment.
_LOSSES = ("File exists", "No such device", "No such file or directory")
_GONE_STATUS = 128 + signal.SIGKILL


@dataclass(frozen=True, slots=True)
class StormSegment:
    """A segment of the storm: its ranges in DEFSEG's words, and how the YAML makes it."""

    name: str
    ranges: tuple[str, ...]
    image: bool
    save: bool

    @property
    def yaml(self) -> str:
        """Return its line of the YAML."""
        ranges = ", ".join(f'"{each}"' for each in self.ranges)
        image = f", image: {{directory: small}}, save: {str(self.save).lower()}" if self.image else ""
        return f"  - {{name: {self.name}, define: [{ranges}]{image}}}"

    @property
    def exclusive(self) -> bool:
        """It may be loaded exclusively."""
        return not self.ranges[0].endswith("SC")


def storm_segments() -> list[StormSegment]:
    """Return twenty segments of 128 KiB, 1 MiB apart: every type, transient and saved, two of them of two ranges."""
    segments = []
    for number in range(20):
        first = 0x20000 + number * 0x100
        last, behind_image = first + _PAGES - 1, first + _PAGES * 3 // 4
        if number < len(_TYPES):
            ranges: tuple[str, ...] = (f"{first:X}-{last:X} {_TYPES[number]}",)
        else:
            ranges = (f"{first:X}-{behind_image - 1:X} EW", f"{behind_image:X}-{last:X} EN")
        image = not ranges[0].endswith(("N", "SC"))
        segments.append(StormSegment(f"S{number:02d}", ranges, image, image and number % 2 == 0))
    return segments


@dataclass(slots=True)
class StormGuest:
    """A guest as the storm believes it to be: its process, and what it has loaded."""

    name: str
    pid: int
    loaded: set[str] = field(default_factory=set)


class StormSystem:
    """The system under the storm, asked over its control socket; `segments` are those of the storm by name."""

    def __init__(self, system: str, contents: Path) -> None:
        self.system = system
        self.segments = {segment.name: segment for segment in storm_segments()}
        self._contents = contents

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Make one request as a command does, over a connection of its own."""
        with Client(self.system) as client:
            return client.ask(request, timeout_seconds=300, **arguments)

    def shell(self, guest: str, line: str) -> tuple[int, str, str]:
        """Run a line in a guest's shell as `dcss exec` does; return status and both outputs."""
        heard = {"stdout": b"", "stderr": b""}

        def hear(output: Output) -> None:
            heard[output.stream] += output.data

        command = ["sh", "-c", line]
        status = int(self.ask("exec", guest=guest, command=command, on_output=hear)["exit_status"])
        return status, heard["stdout"].decode(), heard["stderr"].decode()

    def last_words(self, guest: StormGuest) -> str:
        """Return what CP's log and a guest's own have of it."""
        directory = runtime_directory() / self.system
        journal = [line for line in (directory / "cp.log").read_text().splitlines() if f" {guest.name}:" in line]
        return "\n".join([*journal[-5:], *(directory / f"{guest.name}.log").read_text().splitlines()[-10:]])

    def cp(self, command: str, return_codes: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
        """Give CP a command, which must answer with one of these codes; return its data."""
        response = self.ask("cp", command=command)
        assert response["return_code"] in return_codes, (command, response)
        files: list[dict[str, Any]] = response["files"] or []
        return files

    def save_new(self, segment: StormSegment, seed: int) -> None:
        """DEFSEG and SAVESEG: a new version of a segment."""
        self.cp(f"DEFSEG {segment.name} {' '.join(segment.ranges)}")
        if not segment.image:
            self.cp(f"SAVESEG {segment.name}")
            return
        whole = "" if len(segment.ranges) == 1 else "-less"  # what lies in pages of type EN would be refused
        content = self._contents / f"{seed % 8}{whole}.content"
        response = self.ask("segment", action="save", name=segment.name, content=str(content))
        assert response["return_code"] == 0, response

    def every_segment_once(self, guest: str) -> None:
        """Have a guest load each segment shared, exclusively where that can be, and purge it."""
        steps = []
        for segment in self.segments.values():
            steps.append(f"echo {segment.name} > add")
            if segment.exclusive:
                steps.append(f"echo 0 > {segment.name}/shared")
            steps.append(f"echo {segment.name} > remove")
        status, _, err = self.shell(guest, f"cd {SYSFS} && {' && '.join(steps)}")
        assert (status, err) == (0, ""), (guest, status, err)

    def load_some(self, guest: StormGuest) -> None:
        """Have a guest that has nothing load five segments."""
        names = random.Random(guest.name).sample(tuple(self.segments), 5)
        done = self.shell(guest.name, "; ".join(f"echo {name} > {SYSFS}/add" for name in names))
        assert done == (0, "", ""), (guest, done)
        guest.loaded = set(names)


class Worker:
    """One thread of the storm, with guests of its own; `counts` says what it did."""

    def __init__(self, storm: StormSystem, guests: list[StormGuest], seed: int, *, may_kill: set[str]) -> None:
        self._storm, self._guests, self._may_kill = storm, guests, may_kill
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()

    def run(self, until: float) -> None:
        """Act until an instant of the monotonic clock."""
        while time.monotonic() < until:
            guest = self._random.choice(self._guests)
            try:
                if guest.name in self._may_kill and self._random.random() < 0.01:
                    self._kill(guest)
                else:
                    self._act(guest)
            except Exception as error:
                raise AssertionError(f"{guest}: {error}\n{self._storm.last_words(guest)}") from error

    def _act(self, guest: StormGuest) -> None:
        name = self._random.choice(tuple(self._storm.segments))
        attribute, word = "remove", name
        if name not in guest.loaded or self._random.random() < 0.05:
            attribute = "add"
        elif self._storm.segments[name].exclusive and self._random.random() < 0.1:
            attribute, word = f"{name}/shared", str(self._random.randrange(2))
        status, _, err = self._storm.shell(guest.name, f"echo {word} > {SYSFS}/{attribute}")
        self.counts["calls"] += 1
        if status != 0:
            assert any(err.endswith(f": {loss}\n") for loss in _LOSSES), (guest, attribute, err)
            self.counts["refused"] += 1
            guest.loaded = self.listing(guest)
            return
        if attribute == "add":
            assert name not in guest.loaded, guest
            guest.loaded.add(name)
            self.counts["loads"] += 1
        elif attribute == "remove":
            guest.loaded.remove(name)
            self.counts["purges"] += 1
        else:
            self.counts["access changes"] += 1

    def listing(self, guest: StormGuest) -> set[str]:
        """Return which devices the guest itself sees."""
        status, out, err = self._storm.shell(guest.name, f"ls {SYSFS}")
        assert status == 0, err
        self.counts["calls"] += 1
        return set(out.split()) & set(self._storm.segments)

    def _kill(self, guest: StormGuest) -> None:
        """Kill a guest's process, half the time in the midst of loading, and start it again."""
        blow = threading.Timer(self._random.uniform(0, 0.004), os.kill, (guest.pid, signal.SIGKILL))
        blow.start()
        if self._random.random() < 0.5:
            try:
                self._storm.every_segment_once(guest.name)
            except (AssertionError, LaunchError):
                self.counts["killed while loading"] += 1
        blow.join()
        form = self._storm.ask("guest", guest=guest.name, action="restart")
        assert form["state"] == "ready", form
        guest.pid, guest.loaded = form["pid"], set()
        self.counts["killed"] += 1


class Operator:
    """The thread that changes segments under the guests, and asks about them."""

    def __init__(self, storm: StormSystem, seed: int, directory: Path) -> None:
        self._storm, self._directory = storm, directory
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()

    def run(self, until: float) -> None:
        """Act until an instant of the monotonic clock; then every segment is there again."""
        actions: list[Callable[[StormSegment], None]] = [self._save, self._purge, self._query, self._export]
        while time.monotonic() < until:
            self._random.choice(actions)(self._random.choice(tuple(self._storm.segments.values())))
            time.sleep(self._random.uniform(0, 0.1))

    def _save(self, segment: StormSegment) -> None:
        self._storm.save_new(segment, self._random.randrange(1 << 16))
        self.counts["versions"] += 1

    def _purge(self, segment: StormSegment) -> None:
        self._storm.cp(f"PURGE NSS NAME {segment.name}")
        self.counts["NSS purged"] += 1
        time.sleep(self._random.uniform(0, 0.02))
        self._save(segment)

    def _query(self, segment: StormSegment) -> None:
        self._storm.cp(f"QUERY NSS NAME {segment.name} MAP")
        rows = self._storm.cp("QUERY NSS ALL USERS")
        assert {row["name"] for row in rows} >= set(self._storm.segments)
        self.counts["queries"] += 2
        pending = sum(row["class"] == "P" for row in rows)
        self.counts["most pending at once"] = max(self.counts["most pending at once"], pending)

    def _export(self, segment: StormSegment) -> None:
        path = str(self._directory / f"{segment.name}.img")
        self._storm.ask("segment", action="export", name=segment.name, image=path)
        self.counts["exports"] += 1
