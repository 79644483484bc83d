"""Loads, purges, deaths and new versions in any order, against a model of a few lines."""

import os
import struct

from cp_support import control_program, define, descriptor_of, filler, objects_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dcss.abi.extmem import SegmentName
from dcss.abi.hypercall import Reply

# Pages in hex; OVER shares a megabyte with LIB, NEXT begins in the one after it.
PLACES = {"LIB": (0x20000, 0x2000F), "OVER": (0x20010, 0x2001F), "NEXT": (0x20100, 0x20100), "LOW": (0x800, 0x80F)}
GUESTS = {"A": 1 << 26, "B": 0, "C": 1 << 20}  # name: bytes of storage
guests = st.sampled_from(sorted(GUESTS))
names = st.sampled_from(sorted(PLACES))


def megabytes(name: str) -> set[int]:
    first, last = PLACES[name]
    return set(range(first >> 8, (last >> 8) + 1))


class LoadsMachine(RuleBasedStateMachine):
    """The model: `published` is each name's newest version, `loads` what each guest has, as (version, shared)."""

    @initialize()
    def start(self) -> None:
        self.context = control_program()
        self.cp = self.context.__enter__()
        self.published: dict[str, int] = {}
        self.loads: dict[str, dict[str, tuple[int, bool]]] = {}
        for guest, storage_bytes in GUESTS.items():
            self.cp.register(guest, storage_bytes=storage_bytes)
            self.loads[guest] = {}

    def teardown(self) -> None:
        if hasattr(self, "context"):
            self.context.__exit__(None, None, None)

    def diag(self, guest: str, subcode: int, name: str) -> Reply:
        return self.cp.handle(guest, struct.pack(">QQQ8s", 0x64, 0x1000, subcode, name.ljust(8).encode("cp037")))

    @rule(name=names)
    def publish(self, name: str) -> None:
        version = self.published.get(name, 0) + 1
        first, last = PLACES[name]
        self.cp.publish(define(name, f"{first:X}-{last:X} SR"), filler(b"%d" % version))
        self.published[name] = version

    @rule(guest=guests, name=names, subcode=st.sampled_from([0x00, 0x04, 0x10, 0x20, 0x24]))
    def load(self, guest: str, name: str, subcode: int) -> None:
        reply = self.diag(guest, subcode, name)
        held = self.loads[guest]
        first, last = PLACES[name]
        if name not in self.published:
            assert reply[:3] == (2, 0x1000, 44)
            return
        overlapped = [other for other in held if megabytes(other) & megabytes(name)]
        inside = first << 12 < GUESTS[guest]
        if subcode == 0x10 and (overlapped or inside):
            assert reply[:3] == (2, 0x1000, 47)
            return
        assert reply[:3] == (int(inside), first << 12, (last << 12) | 0xFFF)
        assert os.pread(descriptor_of(reply), 4, 0).rstrip(b"\0") == b"%d" % self.published[name]
        for other in overlapped:
            del held[other]
        held[name] = (self.published[name], subcode in {0x00, 0x10, 0x20})

    @rule(guest=guests, name=names)
    def purge(self, guest: str, name: str) -> None:
        reply = self.diag(guest, 0x08, name)
        if self.loads[guest].pop(name, None):
            assert reply.condition_code == 0
        else:
            assert (reply.condition_code, reply.ry) == (1 if name in self.published else 2, 44)

    @rule(guest=guests, name=names)
    def find(self, guest: str, name: str) -> None:
        condition_code = 0 if name in self.loads[guest] else 1 if name in self.published else 2
        assert self.diag(guest, 0x2C, name).condition_code == condition_code

    @rule(guest=guests)
    def die_and_start_again(self, guest: str) -> None:
        self.cp.release(guest)
        self.cp.register(guest, storage_bytes=GUESTS[guest])
        self.loads[guest] = {}

    @invariant()
    def agrees_with_the_model(self) -> None:
        if not hasattr(self, "cp"):
            return
        versions: dict[tuple[str, int], set[str]] = {}
        for guest, held in self.loads.items():
            loaded = self.cp.loaded(guest)
            assert {name: load.shared for name, load in loaded.items()} == {name: held[name][1] for name in held}
            for name, (version, _) in held.items():
                assert bytes(loaded[SegmentName(name)].segment.object.buffer[:2]).rstrip(b"\0") == b"%d" % version
                versions.setdefault((name, version), set()).add(guest)
        for name, version in self.published.items():
            assert self.cp.users(name) == len(versions.setdefault((name, version), set()))
        found = {(f.name, int(bytes(f.object.buffer[:2]).rstrip(b"\0"))): f for f in self.cp.files.values()}
        assert {key: file.users for key, file in found.items()} == versions
        for (name, version), file in found.items():
            assert file.file_class == ("A" if self.published[name] == version else "P")
        assert len(objects_of(self.cp.system)) == len(versions)


LoadsMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestLoadsMachine = LoadsMachine.TestCase
