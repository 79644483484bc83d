"""The emulated dcssblk beside the real one: the same lines of shell in a guest of each engine, and their effects."""

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dcss

DRIVER = "/sys/devices/dcssblk"
STORAGE_BYTES = 192 << 20
PARTS = 16  # of a page range
SEGMENTS = {
    "A": "12000-120FF SR",
    "B": "12100-121FF SR",
    "C": "12300-123FF SR",
    "OVER": "12080-1227F SR",  # A's second half, and B
    "ER": "14000-140FF ER",
    "ER2": "14100-141FF ER",
    "SW": "15000-150FF SW",
    "SW2": "15100-151FF SW",
    "SN": "15200-152FF SN",
    "EW": "16000-160FF EW",
    "EN": "16100-161FF EN",
    "MIX": "16200-1627F EW 16280-162FF EN",
    "SC": "17000-170FF SC",
    "TWO": "18000-1807F SR 18080-180FF SR",
    "GAP": "18200-1827F EW 18290-182FF EW",
    "HALF": "19000-1907F SR",  # shares a megabyte with OTHER
    "OTHER": "19080-190FF SR",
    "SIX": " ".join(f"{page:X}-{page + PARTS - 1:X} EW" for page in range(0x1B000, 0x1B000 + 6 * PARTS, PARTS)),
    "SEVEN": " ".join(f"{page:X}-{page + PARTS - 1:X} EW" for page in range(0x1A000, 0x1A000 + 7 * PARTS, PARTS)),
}
IN_STORAGE = ("INSIDE", "08000-080FF SR")
LIST, BLOCK, IOMEM = f"ls {DRIVER}", "ls /sys/block", "cat /proc/iomem"
LOOK = (LIST, BLOCK, IOMEM)
NAMES = [*SEGMENTS, "LIB"]
TOGETHER = ["A:B", "B:A", "A:B:C", "B:OVER", "A:A", "SW:SW2", "SW2:SN", "ER:ER2", "EW:EN", "EN:EW:MIX", "MIX:EN"]
WRONG = ["HALF:OTHER", "NOSUCH:A", "A:NOSUCH", "LIB:A", "NOSUCH", "TOOLONGNAME", "LIB ", ":", "A:"]
# What only one of the two lists: attributes not made by the driver, disks of others, storage of the kernel's own.
_OTHERS = re.compile(r"module|uevent|(ram|loop|vd).*|.* : (System RAM|Kernel \w+)")
_DRIVERS = re.compile("dcssblk: |extmem: ")
_NEWER = re.compile(".*DAX support (dis|en)abled")  # since 6.18
_STAMP = re.compile(r"\[ *[\d.]+\] ")


class Done(NamedTuple):
    """What a line did: its words of errno where it failed, and what it printed."""

    line: str
    error: str
    printed: tuple[str, ...]


class Side:
    """A guest that has the driver."""

    def __init__(self, system: dcss.System) -> None:
        self._guest, self._runs = system.guests["G"], 0
        for name, ranges in (*SEGMENTS.items(), IN_STORAGE):
            system.cp(f"DEFSEG {name} {ranges}")
            system.cp(f"SAVESEG {name}")
        self.run(["mkdir -p /mnt"])

    def run(self, lines: Iterable[str]) -> tuple[list[Done], list[str]]:
        """Run lines in one shell, of which each goes on where another failed.

        Return what they did, and what dcssblk and extmem have logged meanwhile.
        """
        lines, self._runs = list(lines), self._runs + 1
        begin = f"dcssblk: Device ={self._runs} cannot be removed because it is not a known device"
        marked = [store("remove", f"={self._runs}"), *lines]
        script = "\n".join(f"{line} && echo =worked || echo =failed" for line in marked)
        result = self._guest.exec(["sh", "-c", f"{script}\ndmesg"], timeout_seconds=300)
        told, errors = iter(result.stdout.splitlines()), iter(result.stderr.splitlines())
        done = [_done(line, told, errors) for line in marked]
        log = [
            line
            for line in (_STAMP.sub("", line, count=1) for line in told)
            if _DRIVERS.match(line) and not _NEWER.match(line)
        ]
        return done[1:], log[log.index(begin) + 1 :]

    def release(self) -> tuple[int, int]:
        """Return its kernel's version, as (6, 12)."""
        major, minor = self.run(["uname -r"])[0][0].printed[0].split(".")[:2]
        return int(major), int(minor)

    def clear(self) -> None:
        """Leave no device."""
        listed = self.run(["umount /mnt", LIST])[0][1].printed
        self.run(store("remove", name) for name in listed if name not in {"add", "remove"})


def _done(line: str, told: Iterator[str], errors: Iterator[str]) -> Done:
    """Take from `told` what a line printed and how it ended, and from `errors` what it complained of, if it failed."""
    printed: list[str] = []
    for each in told:
        if each in {"=worked", "=failed"}:
            # busybox's shell has words of its own for ENOENT of a directory
            error = next(errors).rpartition(": ")[2] if each == "=failed" else ""
            error = error.replace("nonexistent directory", "No such file or directory")
            return Done(line, error, tuple(each for each in printed if not _OTHERS.fullmatch(each)))
        printed.append(each)
    raise AssertionError(f"{line}: found no end of it")


def config(suite: str = "") -> dict[str, Any]:
    """Return a system with one guest that has no device: of SUITE or SUITE:PACKAGE of Debian, or of engine process."""
    guest: dict[str, Any] = {"name": "G", "privilege": "EG", "dcssblk": [], "expect": "nothing", "storage": "192M"}
    if suite:
        release, _, package = suite.partition(":")
        guest |= {
            "engine": "linux",
            "kernel": {"debian": {"suite": release, "package": package or "linux-image-s390x"}},
        }
    segment = {"name": "LIB", "define": ["10000-101FF SR"], "image": {"directory": "tree"}}
    return {"segments": [segment], "guests": [guest]}


def tree(directory: Path) -> None:
    """Make what LIB holds."""
    (directory / "tree").mkdir()
    (directory / "tree/file").write_text("something\n")


def store(attribute: str, text: str) -> str:
    """Return the line that writes to an attribute of the driver."""
    return f"echo -n '{text}' > {DRIVER}/{attribute}"


def random_steps(seed: int, count: int = 16, *, without: str = "") -> list[str]:
    """Return lines of what an administrator may do, in any order: most make sense, many do not.

    A name `without` is not added.
    """
    chance = random.Random(seed)
    wrong = [text for text in WRONG if text != without]
    lines: list[str] = []
    added: list[str] = []
    for _ in range(count):
        kind = chance.random()
        name = chance.choice(added or ["A"])
        if kind < 0.35 or not added:
            text = chance.choice(chance.choice([NAMES, NAMES, TOGETHER, wrong]))
            lines.append(store("add", text.lower() if chance.random() < 0.2 else text))
            added.append(text.split(":")[0].strip() or "A")
        elif kind < 0.5:
            lines.append(store("remove", chance.choice([*added, "B"])))
        elif kind < 0.65:
            lines.append(store(f"{name}/shared", chance.choice("00111x")))
            lines.append(f"cat {DRIVER}/{name}/shared")
        elif kind < 0.75:
            lines.append(store(f"{name}/save", chance.choice("1110x")))
            lines.append(f"cat {DRIVER}/{name}/save")
        elif kind < 0.8:
            lines.append(f"cat {DRIVER}/{name}/seglist")
        elif kind < 0.9:
            lines.append(chance.choice(["mount -t ext2 -o ro /dev/dcssblk0 /mnt", "umount /mnt"]))
        else:
            lines.append(chance.choice(LOOK))
    states = (f"cat /sys/block/dcssblk{number}/{each}" for number in range(3) for each in ("size", "ro"))
    return [*lines, *LOOK, *states]


def random_contents(seed: int, count: int = 12) -> list[str]:
    """Return lines that write to one device, save it, load it again and read it, in any order."""
    chance = random.Random(seed)
    name = chance.choice(["A", "A:B", "ER", "SW", "SW:SW2", "SN", "EW", "EW:EN", "MIX"])
    first = name.split(":")[0]
    lines, shared = [store("add", name)], True
    for number in range(count):
        kind = chance.random()
        if kind < 0.3:
            shared = not shared
            lines.append(store(f"{first}/shared", str(int(shared))))
        elif kind < 0.6 and not (shared and first in {"A", "ER"}):
            lines.append(f"echo written {number} > /dev/dcssblk0")
        elif kind < 0.75:
            lines.append(store(f"{first}/save", "1"))
        elif kind < 0.9:
            lines += [store("remove", first), store("add", name)]
            shared = True
        lines.append("hexdump -C -n 16 /dev/dcssblk0")
    return [*lines, "md5sum /dev/dcssblk0"]
