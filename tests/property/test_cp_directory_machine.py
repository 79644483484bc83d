"""DEFSEG, SAVESEG, imports, loads, purges, guest exits, CP restarts and crashes in any order, against a small model."""

import os
import struct
from dataclasses import dataclass, field

from cp_support import BlockingCp, define, filler, objects_of, open_descriptors, private_directories, unique_system
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dcss.cp.requests import Issuer

PLACES = {"LIB": "20000-2000F SR", "APP": "20010-2001F SW", "SECRET": "20100-20100 EW"}
GUESTS = ("A", "B")
names = st.sampled_from(sorted(PLACES))
guests = st.sampled_from(GUESTS)


@dataclass(eq=False)
class Version:
    """One system data file of the model; `content` is None for a skeleton."""

    name: str
    content: bytes | None
    saved: bool
    users: set[str] = field(default_factory=set)


class DirectoryMachine(RuleBasedStateMachine):
    """The model: `skeletons` and `available` by name, `pending` those that were replaced or purged while in use."""

    @initialize()
    def start(self) -> None:
        self.directories = private_directories()
        self.directories.__enter__()
        self.descriptors = open_descriptors()
        self.system = unique_system("machine")
        self.skeletons: dict[str, Version] = {}
        self.available: dict[str, Version] = {}
        self.pending: list[Version] = []
        self.loads: dict[tuple[str, str], Version] = {}
        self.counter = 0
        self.begin()

    def begin(self) -> None:
        self.cp = BlockingCp(self.system)
        for guest in GUESTS:
            self.register(guest)

    def register(self, guest: str) -> None:
        self.cp.register(
            guest,
            storage_bytes=0,
            namesave=frozenset({"SECRET"} if guest == "A" else ()),
            privilege="EG",
            dump=lambda write_fd, _address, _size_bytes: os.pwrite(write_fd, b"%06d" % self.counter, 0),
        )

    def teardown(self) -> None:
        if hasattr(self, "cp"):
            self.cp.close()
            assert objects_of(self.system) == []
            assert open_descriptors() == self.descriptors
            self.directories.__exit__(None, None, None)

    def new_content(self) -> bytes:
        self.counter += 1
        return b"%06d" % self.counter

    def retire(self, version: Version | None) -> None:
        if version is not None and version.users:
            self.pending.append(version)

    def drop(self, guest: str, name: str) -> None:
        version = self.loads.pop((guest, name))
        version.users.discard(guest)
        if not version.users and version in self.pending:
            self.pending.remove(version)

    @rule(name=names)
    def defseg(self, name: str) -> None:
        rstd = " RSTD" if name == "SECRET" else ""
        return_code = self.cp.execute(f"DEFSEG {name} {PLACES[name]}{rstd}").return_code
        if name in self.skeletons:
            assert return_code == 299  # FACTS 1.4: a skeleton of that name exists
            return
        assert return_code == 0
        self.skeletons[name] = Version(name, None, saved=True)

    @rule(name=names)
    def saveseg(self, name: str) -> None:
        return_code = self.cp.execute(f"SAVESEG {name}").return_code
        if name not in self.skeletons:
            assert return_code == 9002
            return
        if name in self.available and self.available[name].content:
            assert return_code == 9007  # the operator has nothing to put in its place
            return
        assert return_code == 0
        del self.skeletons[name]
        self.retire(self.available.get(name))
        self.available[name] = Version(name, b"", saved=True)

    @rule(guest=guests, name=names)
    def guest_saves(self, guest: str, name: str) -> None:
        content = self.new_content()
        issuer = Issuer(guest, frozenset("EG"), self.cp.machines[guest])
        return_code = self.cp.execute(f"SAVESEG {name}", issuer).return_code
        if name not in self.skeletons or (guest, name) not in self.loads:
            assert return_code == (9009 if name in self.skeletons else 9002)
            return
        assert return_code == 0
        del self.skeletons[name]
        self.retire(self.available.get(name))
        self.available[name] = Version(name, content, saved=True)

    @rule(name=names)
    def import_(self, name: str) -> None:
        content = self.new_content()
        self.cp.saved.store(define(name, PLACES[name], restricted=name == "SECRET"), filler(content))
        self.retire(self.available.get(name))
        self.available[name] = Version(name, content, saved=True)

    @rule(name=names)
    def publish(self, name: str) -> None:
        if name in self.available and self.available[name].saved:
            return
        content = self.new_content()
        self.cp.publish(define(name, PLACES[name], restricted=name == "SECRET"), filler(content))
        self.retire(self.available.get(name))
        self.available[name] = Version(name, content, saved=False)

    @rule(name=names)
    def purge_nss(self, name: str) -> None:
        known = any(version.name == name for version in self.pending)
        expected = 0 if name in self.skeletons or name in self.available or known else 9003
        assert self.cp.execute(f"PURGE NSS NAME {name}").return_code == expected
        self.skeletons.pop(name, None)
        self.retire(self.available.pop(name, None))

    @rule(guest=guests, name=names, shared=st.booleans())
    def load(self, guest: str, name: str, shared: bool) -> None:
        subcode = 0x20 if shared else 0x24
        reply = self.cp.handle(guest, struct.pack(">QQQ8s", 0x64, 0, subcode, name.ljust(8).encode("cp037")))
        version = self.available.get(name)
        if version is None:
            assert (reply.condition_code, reply.ry) == (2, 44)
            return
        if name == "SECRET" and guest != "A":
            assert (reply.condition_code, reply.ry) == (2, 45)
            return
        assert reply.condition_code == 0
        assert reply.descriptor is not None
        content = os.pread(reply.descriptor, 6, 0).rstrip(b"\0")
        dirty = name == "APP" and shared and version.users - {guest}
        if not dirty:
            assert content == version.content
        if name == "APP" and shared:
            os.pwrite(reply.descriptor, b"dirty!", 0)
        for other in ("LIB", "APP") if name != "SECRET" else ("SECRET",):  # LIB and APP share a megabyte
            if (guest, other) in self.loads:
                self.drop(guest, other)
        self.loads[guest, name] = version
        version.users.add(guest)

    @rule(guest=guests, name=names)
    def unload(self, guest: str, name: str) -> None:
        reply = self.cp.handle(guest, struct.pack(">QQQ8s", 0x64, 0, 8, name.ljust(8).encode("cp037")))
        if (guest, name) in self.loads:
            assert reply.condition_code == 0
            self.drop(guest, name)
        else:
            assert reply.condition_code == (1 if name in self.available else 2)

    @rule(guest=guests)
    def guest_dies(self, guest: str) -> None:
        self.cp.release(guest)
        self.register(guest)
        for held, name in list(self.loads):
            if held == guest:
                self.drop(guest, name)

    @rule()
    def host_restarts(self) -> None:
        self.cp.close()
        assert objects_of(self.system) == []
        for guest, name in list(self.loads):
            self.drop(guest, name)
        self.available = {name: version for name, version in self.available.items() if version.saved}
        self.begin()

    @invariant()
    def agrees_with_the_model(self) -> None:
        if not hasattr(self, "cp"):
            return
        model = [(version.name, "S", frozenset[str]()) for version in self.skeletons.values()]
        model += [
            (name, "R" if name == "SECRET" else "A", frozenset(version.users))
            for name, version in self.available.items()
        ]
        model += [(version.name, "P", frozenset(version.users)) for version in self.pending]
        found = [(file.name, file.file_class.value, frozenset(file.users)) for file in self.cp.files.values()]
        assert sorted(map(repr, found)) == sorted(map(repr, model))
        assert all(0 < spid <= 9999 and file.spid == spid for spid, file in self.cp.files.items())
        in_storage = [each for file in self.cp.files.values() for each in (file.stored, file.pristine) if each]
        assert len(objects_of(self.system)) == len(in_storage)
        assert self.cp.findings == []


DirectoryMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestDirectoryMachine = DirectoryMachine.TestCase
