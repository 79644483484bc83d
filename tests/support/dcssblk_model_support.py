"""What dcssblk and extmem of a few guests on one CP do, in dictionaries: written from FACTS sections 1 to 4 and 7.

Only pages that somebody wrote are kept; any other page is zero. Every call of a guest returns an errno, or None.
"""

from dataclasses import dataclass, field
from errno import EAGAIN, EBUSY, EEXIST, EINVAL, EIO, ENAMETOOLONG, ENODEV, ENOENT, ENOSPC, EOPNOTSUPP, EPERM
from itertools import pairwise

# One page, or just enough that neighbours begin in the next megabyte.
DEFINITIONS = {
    "A": "200FF-200FF SR",
    "B": "20100-201FF SR",
    "C": "20200-20200 SR",
    "OVER": "20110-2011F SR",
    "D": "300FF-300FF EW",
    "E": "30100-301FF EN",
    "R": "30200-30200 ER",
    "S": "400FF-400FF SW",
    "T": "40100-40101 SN",
    "MIX": "50000-50001 EW 50002-500FF EN",
    "D2": "50100-50101 EW",
    "MON": "60000-60000 SC",
    "TWO": "70000-70000 SR 70100-70100 SN",
    "LOW": "00100-00100 SR",
}
READ_ONLY, NOT_SAVED = {"SR", "ER", "SC"}, {"SN", "EN", "SC"}
Pages = dict[int, bytes]  # what a page begins with, by its absolute number


@dataclass(frozen=True)
class Range:
    """Pages of one type."""

    first: int
    last: int
    type: str


def ranges_of(name: str) -> list[Range]:
    words = DEFINITIONS[name].replace("-", " ").split()
    return [Range(int(a, 16), int(b, 16), kind) for a, b, kind in zip(*[iter(words)] * 3, strict=True)]


def pages_of(name: str) -> range:
    return range(ranges_of(name)[0].first, ranges_of(name)[-1].last + 1)


def type_of(name: str) -> str:
    kinds = [each.type for each in ranges_of(name)]
    return kinds[0] if len(kinds) == 1 else "EWEN"


def megabytes(name: str) -> set[int]:
    return {page >> 8 for page in pages_of(name)}


@dataclass(eq=False)
class Version:
    """A saved segment: its content, and for what all write the storage that its users share."""

    content: Pages
    storage: Pages
    users: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Loaded:
    """A segment in a guest."""

    version: Version
    nonshared: bool
    read_only_resource: bool
    users: int = 1
    own: Pages = field(default_factory=dict)  # pages that only this guest sees


@dataclass(eq=False)
class Device:
    """A disk: names as typed, in upper case."""

    names: list[str]
    shared: bool = True
    pending: bool = False
    opens: int = 0

    @property
    def type(self) -> str:
        return type_of(self.names[0].rstrip())

    @property
    def read_only(self) -> bool:
        return self.shared and self.type in READ_ONLY

    @property
    def pages(self) -> range:
        members = [pages_of(name.rstrip()) for name in self.names]
        return range(min(m.start for m in members), max(m.stop for m in members))


class ModelCp:
    """The segments that a load gets."""

    def __init__(self) -> None:
        self.available: dict[str, Version] = {}

    def save(self, name: str, seen: Pages) -> None:
        kept = [each for each in ranges_of(name) if each.type not in NOT_SAVED]
        content = {page: text for page, text in seen.items() if any(r.first <= page <= r.last for r in kept)}
        self.available[name] = Version(content, dict(content))


@dataclass
class ModelGuest:
    """One guest: its loaded segments by name, its disks by minor number."""

    name: str
    cp: ModelCp
    loaded: dict[str, Loaded] = field(default_factory=dict)
    devices: dict[int, Device] = field(default_factory=dict)

    # CP

    def cp_load(self, name: str) -> Version | None:
        version = self.cp.available.get(name)
        if version is not None:
            if not version.users:
                version.storage = dict(version.content)
            version.users.add(self.name)
        return version

    def die(self) -> None:
        for each in self.loaded.values():
            each.version.users.discard(self.name)
        self.loaded, self.devices = {}, {}

    # extmem

    def segment_load(self, name: str) -> int | None:
        if name in self.loaded:
            if self.loaded[name].nonshared:
                return EPERM
            self.loaded[name].users += 1
            return None
        checks = {
            ENOENT: name not in self.cp.available,
            EOPNOTSUPP: name == "TWO",
            EBUSY: any(megabytes(name) & megabytes(other) for other in self.loaded if name in DEFINITIONS),
            ENOSPC: name == "LOW",
        }
        if any(checks.values()):
            return next(errno for errno, fails in checks.items() if fails)
        version = self.cp_load(name)
        assert version is not None
        self.loaded[name] = Loaded(version, nonshared=False, read_only_resource=type_of(name) in READ_ONLY)
        return None

    def segment_unload(self, name: str) -> None:
        self.loaded[name].users -= 1
        if not self.loaded[name].users:
            self.loaded.pop(name).version.users.discard(self.name)

    def segment_modify_shared(self, name: str, *, nonshared: bool) -> int | None:
        segment = self.loaded[name]
        if segment.nonshared is nonshared:
            return None
        if segment.users != 1:
            return EAGAIN
        segment.version.users.discard(self.name)
        version = self.cp_load(name)
        if version is None:
            del self.loaded[name]
            return ENOENT
        read_only = not nonshared and type_of(name) in {"SR", "ER"}
        self.loaded[name] = Loaded(version, nonshared, read_only)
        return None

    def seen(self, name: str) -> Pages:
        """What the guest finds in a loaded segment."""
        segment = self.loaded[name]
        all_write = type_of(name) in {"SW", "SN"} and not segment.nonshared
        return segment.version.storage if all_write else segment.version.content | segment.own

    def store(self, name: str, page: int, text: bytes) -> None:
        segment = self.loaded[name]
        all_write = type_of(name) in {"SW", "SN"} and not segment.nonshared
        (segment.version.storage if all_write else segment.own)[page] = text

    # dcssblk

    def add(self, text: str) -> int | None:
        text = text.split("\n", maxsplit=1)[0].split("\0", maxsplit=1)[0].upper()
        if not text:
            return ENAMETOOLONG
        names: list[str] = []
        errno = None
        for name in text.split(":"):
            errno = self._add_one(name)
            if errno is not None:
                break
            names.append(name)
        else:
            errno = self._check_together(names)
        if errno is not None:
            for name in names:
                self.segment_unload(name.rstrip())
            return errno
        minor = min(set(range(len(self.devices) + 1)) - self.devices.keys())
        self.devices[minor] = Device(names)
        return None

    def _add_one(self, name: str) -> int | None:
        if not 1 <= len(name) <= 8:
            return ENAMETOOLONG
        if any(name in device.names for device in self.devices.values()):
            return EEXIST
        return self.segment_load(name.rstrip())

    def _check_together(self, names: list[str]) -> int | None:
        ordered = sorted((name.rstrip() for name in names), key=lambda name: pages_of(name).start)
        for low, high in pairwise(ordered):
            together = type_of(low) == type_of(high) or {type_of(low), type_of(high)} <= {"EW", "EN", "EWEN"}
            if pages_of(low).stop != pages_of(high).start or not together:
                return EINVAL
        return None

    def remove(self, text: str) -> int | None:
        name = text.split("\n", maxsplit=1)[0].split("\0", maxsplit=1)[0].upper()
        if not 1 <= len(name) <= 8:
            return ENAMETOOLONG
        device = self.named(name)
        if device is None:
            return ENODEV
        if device.opens:
            return EBUSY
        self._forget(device)
        for member in device.names:
            self.segment_unload(member.rstrip())
        return None

    def shared(self, device: Device, text: str) -> int | None:
        if text[1:2] not in {"", "\n", "\0"}:
            return EINVAL
        if device.opens:
            return EBUSY
        if text[:1] not in {"0", "1"} or (text[0] == "0" and device.type == "SC"):
            return EINVAL
        for name in device.names:
            errno = self.segment_modify_shared(name.rstrip(), nonshared=text[0] == "0")
            if errno not in {None, EAGAIN}:
                self._forget(device)
                for other in device.names:
                    if other != name:
                        self.segment_unload(other.rstrip())
                return errno
        device.shared = text[0] == "1"
        return None

    def save(self, device: Device, text: str) -> int | None:
        if text[:1] not in {"0", "1"} or text[1:2] not in {"", "\n", "\0"}:
            return EINVAL
        if text[0] == "0":
            device.pending = False
        elif device.opens:
            device.pending = True
        else:
            self._save_all(device)
        return None

    def close(self, device: Device) -> None:
        device.opens -= 1
        if not device.opens and device.pending:
            device.pending = False
            self._save_all(device)

    def write(self, device: Device, page: int, texts: list[bytes]) -> int | None:
        pages = range(device.pages.start + page, device.pages.start + page + len(texts))
        if pages.stop > device.pages.stop or device.read_only:
            return EIO
        places = [next(n.rstrip() for n in device.names if p in pages_of(n.rstrip())) for p in pages]
        if any(type_of(name) in READ_ONLY and not self.loaded[name].nonshared for name in places):
            return EIO  # a member that stayed shared when its device was made exclusive
        for name, absolute, text in zip(places, pages, texts, strict=True):
            self.store(name, absolute, text)
        return None

    def module(self, entries: list[str]) -> None:
        for entry in entries:
            names, bracket, rest = entry.partition("(")
            if self.add(names) is None and bracket + rest[:6] == "(local)":
                device = self.named(names.split(":")[0].upper())
                assert device is not None
                self.shared(device, "0")

    def named(self, name: str) -> Device | None:
        return next((device for device in self.devices.values() if device.names[0] == name), None)

    def _save_all(self, device: Device) -> None:
        for name in device.names:
            if type_of(name.rstrip()) not in {"SN", "EN"}:
                self.cp.save(name.rstrip(), self.seen(name.rstrip()))

    def _forget(self, device: Device) -> None:
        self.devices = {minor: other for minor, other in self.devices.items() if other is not device}
