"""dcssblk and extmem of two guests on one CP, in any order of what an administrator does, against a model.

Compared after each step: errno, disks with their numbers, modes and pending saves, what CP says is loaded and by how
many, the resources of /proc/iomem, and every page that was written, as both guests see it.
"""

from contextlib import ExitStack
from typing import Any

from cp_support import control_program, define
from dcssblk_model_support import DEFINITIONS, Device, ModelCp, ModelGuest, pages_of
from dcssblk_support import Guest
from guest_support import guest_kernel
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.block.dcssblk import DcssblkDevice
from vmguest.block.device import SECTORS_PER_PAGE

GUESTS = ("ALPHA", "BETA")
TEXT_BYTES = 8
guests = st.sampled_from(GUESTS)
numbers = st.integers(0, 11)  # which of what there is
pages = st.integers(0, 600)  # which page of a disk, the one behind its end included
together = st.sampled_from(["A:B", "b:a", "C:A:B", "a:b:c", "B:C", "D:E", "E:D", "MIX:D2", "d2:mix"])
apart = st.sampled_from(["A:C", "S:T", "R:E", "A:A", "C:B:OVER", "B:OVER", "A:B:TOOLONGNAME", "D:E:NOSUCH"])
typos = st.sampled_from(["", ":", "A:", ":A", "A::B", " A", "A ", "NOSUCH", "TOOLONGNAME", "\n", "\0A"])
writable = st.sampled_from(["d", "D", "E", "s", "S", "T", "MIX"])
single = st.one_of(st.sampled_from(sorted(DEFINITIONS)), writable)
free = st.lists(st.one_of(single, typos), min_size=1, max_size=3).map(":".join)
names = st.one_of(single, single, together, together, apart, typos, free)
endings = st.sampled_from(["", "\n", "\nB", "\0:B"])
right = st.sampled_from(["0", "1", "0\n", "1\n", "0\0", "1\nx"])
flags = st.one_of(right, right, right, st.sampled_from(["x", "x\n", "01", "", "2"]))
local = st.sampled_from(["", "", "(local)", "(local)", "(LOCAL)", "(local", "(local)x"])
entries = st.lists(st.tuples(names.filter(lambda text: text.isprintable()), local).map("".join), max_size=3)


class DcssblkMachine(RuleBasedStateMachine):
    """`guests` are real kernels, `models` what they should be; each step does the same to both."""

    @initialize()
    def start(self) -> None:
        self.stack = ExitStack()
        self.cp = self.stack.enter_context(control_program())
        self.model_cp = ModelCp()
        self.written = 0
        self.touched: set[int] = set()
        self.guests: dict[str, Guest] = {}
        self.contexts: dict[str, ExitStack] = {}
        self.models: dict[str, ModelGuest] = {}
        self.opens: dict[str, list[tuple[DcssblkDevice, Device, Any]]] = {}
        for name, words in DEFINITIONS.items():
            pieces = words.split()
            self.cp.publish(define(name, *map(" ".join, zip(pieces[::2], pieces[1::2], strict=True))), lambda _: None)
            self.model_cp.save(name, {})
        for name in GUESTS:
            self.boot(name)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    def boot(self, name: str) -> None:
        context = self.stack.enter_context(ExitStack())
        kernel = context.enter_context(guest_kernel(self.cp, name, 4 << 20, slot=GUESTS.index(name)))
        self.contexts[name] = context
        self.guests[name] = Guest(self.cp, kernel)
        self.models[name] = ModelGuest(name, self.model_cp)
        self.opens[name] = []

    def saveseg(self, name: str) -> None:
        """Put an empty segment in a segment's place, which CP does not take for one that the operator saves over it."""
        if name in self.model_cp.available:
            assert self.cp.execute(f"PURGE NSS NAME {name}").return_code == 0
        assert self.cp.execute(f"DEFSEG {name} {DEFINITIONS[name]}").return_code == 0
        assert self.cp.execute(f"SAVESEG {name}").return_code == 0
        self.model_cp.save(name, {})

    def store(self, guest: str, path: str, text: str) -> int | None:
        try:
            self.guests[guest].store(path, text)
        except KernelError as error:
            return error.errno
        return None

    def pick(self, guest: str, number: int) -> tuple[DcssblkDevice, Device]:
        devices = self.models[guest].devices
        minor = [*devices][number % len(devices)]
        return self.guests[guest].kernel.dcssblk.devices[minor], devices[minor]

    def has_device(self) -> bool:
        return any(model.devices for model in getattr(self, "models", {}).values())

    def with_device(self, guest: str) -> str:
        """The guest, or the other one where only that has a device."""
        return guest if self.models[guest].devices else next(n for n in GUESTS if self.models[n].devices)

    # dcssblk

    @rule(guest=guests, text=names, ending=endings)
    def add(self, guest: str, text: str, ending: str) -> None:
        assert self.store(guest, "add", text + ending) == self.models[guest].add(text + ending)

    @rule(guest=guests, text=names, ending=endings)
    def remove(self, guest: str, text: str, ending: str) -> None:
        assert self.store(guest, "remove", text + ending) == self.models[guest].remove(text + ending)

    @rule(guest=guests, text=st.one_of(together, apart))
    def add_several(self, guest: str, text: str) -> None:
        self.add(guest, text, "\n")

    @precondition(has_device)
    @rule(guest=guests, number=numbers, member=numbers, ending=endings)
    def remove_device(self, guest: str, number: int, member: int, ending: str) -> None:
        """By its name, or that of another member."""
        guest = self.with_device(guest)
        names = self.pick(guest, number)[1].names
        self.remove(guest, names[member % len(names)].lower(), ending)

    @precondition(has_device)
    @rule(guest=guests, number=numbers, text=flags)
    def shared(self, guest: str, number: int, text: str) -> None:
        guest = self.with_device(guest)
        device = self.pick(guest, number)[1]
        assert self.store(guest, f"{device.names[0]}/shared", text) == self.models[guest].shared(device, text)

    @precondition(has_device)
    @rule(guest=guests, number=numbers, text=flags)
    def save(self, guest: str, number: int, text: str) -> None:
        guest = self.with_device(guest)
        device = self.pick(guest, number)[1]
        assert self.store(guest, f"{device.names[0]}/save", text) == self.models[guest].save(device, text)

    @rule(guest=guests, entries=entries)
    def module_parameter(self, guest: str, entries: list[str]) -> None:
        self.guests[guest].kernel.dcssblk.load_module(",".join(entries))
        self.models[guest].module(entries)

    @precondition(has_device)
    @rule(guest=guests, number=numbers, member=numbers, text=right, page=pages)
    def add_again(self, guest: str, number: int, member: int, text: str, page: int) -> None:
        """The one way to have a segment twice: a blank behind its name makes it another name, and not another one."""
        guest = self.with_device(guest)
        names = self.pick(guest, number)[1].names
        self.add(guest, f"{names[member % len(names)]} ", "")
        self.shared(guest, number, text)
        if self.models[guest].devices:
            self.write(guest, number, page, 2)

    @rule(guest=guests, text=st.one_of(together, writable), page=pages, local=st.booleans(), saved=st.booleans())
    def edit(self, guest: str, text: str, page: int, local: bool, saved: bool) -> None:
        """The administrator's way: add, exclusive, write, save, remove, and add for all."""
        self.add(guest, text, "\n")
        number = self.number_of(guest, text)
        if number is not None and local:
            self.shared(guest, number, "0\n")
            number = self.number_of(guest, text)
        if number is not None:
            self.write(guest, number, page, 1)
            if saved:
                self.save(guest, number, "1\n")
                self.remove(guest, text.partition(":")[0], "\n")
                for each in GUESTS:
                    self.add(each, text, "\n")

    @rule(guest=guests, text=st.one_of(together, writable), page=pages)
    def work_together(self, guest: str, text: str, page: int) -> None:
        """Both guests have a disk, and one writes to it."""
        for each in GUESTS:
            self.add(each, text, "\n")
        number = self.number_of(guest, text)
        if number is not None:
            self.write(guest, number, page, 2)

    @precondition(has_device)
    @rule(guest=guests, number=numbers, page=pages, texts=st.lists(right, min_size=1, max_size=2))
    def save_while_open(self, guest: str, number: int, page: int, texts: list[str]) -> None:
        guest = self.with_device(guest)
        self.open(guest, number)
        self.write(guest, number, page, 1)
        for text in texts:
            self.save(guest, number, text)
        self.release(guest, len(self.opens[guest]) - 1)

    def number_of(self, guest: str, text: str) -> int | None:
        """Which of the guest's devices has the name that a text begins with."""
        device = self.models[guest].named(text.partition(":")[0].upper())
        return None if device is None else [*self.models[guest].devices.values()].index(device)

    # transfers

    @precondition(has_device)
    @rule(guest=guests, number=numbers)
    def open(self, guest: str, number: int) -> None:
        guest = self.with_device(guest)
        real, model = self.pick(guest, number)
        self.opens[guest].append((real, model, real.open()))
        model.opens += 1

    @rule(guest=guests, number=numbers)
    def release(self, guest: str, number: int) -> None:
        if self.opens[guest]:
            real, model, opened = self.opens[guest].pop(number % len(self.opens[guest]))
            real.release(opened)
            self.models[guest].close(model)

    @precondition(has_device)
    @rule(guest=guests, number=numbers, page=pages, count=st.integers(1, 2))
    def write(self, guest: str, number: int, page: int, count: int) -> None:
        guest = self.with_device(guest)
        real, model = self.pick(guest, number)
        page %= len(model.pages) + 1
        texts = [b"%08d" % (self.written + i) for i in range(count)]
        self.written += count
        self.touched |= {model.pages.start + page + i for i in range(count)}
        errno = self._transfer(guest, real, page, texts, writing=True)
        model.opens += 1
        assert errno == self.models[guest].write(model, page, texts)
        self.models[guest].close(model)

    @precondition(has_device)
    @rule(guest=guests, number=numbers, page=pages)
    def read(self, guest: str, number: int, page: int) -> None:
        guest = self.with_device(guest)
        real, model = self.pick(guest, number)
        page %= len(model.pages) + 1
        inside = page + 2 <= len(model.pages)
        seen = [b""] * 2
        errno = self._transfer(guest, real, page, seen, writing=False)
        assert (errno is None) is inside
        if inside:
            assert seen == [self._expected(guest, model, model.pages[page + i]) for i in range(2)]
        model.opens += 1
        self.models[guest].close(model)

    def _transfer(self, guest: str, real: DcssblkDevice, page: int, texts: list[bytes], *, writing: bool) -> int | None:
        """Write pages that begin with `texts`, or read them into it, through one more open of the device."""
        storage = self.guests[guest].kernel.machine.storage
        frame = storage.allocate(len(texts))
        opened = real.open()
        try:
            views = [storage.view((frame + i) * PAGE_SIZE, TEXT_BYTES) for i in range(len(texts))]
            place = (page * SECTORS_PER_PAGE, storage.address(frame), len(texts) * PAGE_SIZE)
            if writing:
                for view, text in zip(views, texts, strict=True):
                    view[:] = text
                real.write(opened, *place)
            else:
                real.read(opened, *place)
                texts[:] = [bytes(view) for view in views]
        except KernelError as error:
            return error.errno
        finally:
            real.release(opened)
            storage.release(frame, len(texts))
        return None

    def _expected(self, guest: str, device: Device, page: int) -> bytes:
        name = next(name.rstrip() for name in device.names if page in pages_of(name.rstrip()))
        return self.models[guest].seen(name).get(page, bytes(TEXT_BYTES))

    # CP

    @precondition(has_device)
    @rule(guest=guests, number=numbers, member=numbers, define=st.booleans(), texts=st.lists(right, max_size=3))
    def operator_meddles(self, guest: str, number: int, member: int, define: bool, texts: list[str]) -> None:
        """Purge a segment that a guest has loaded, or put an empty one in its place; then the guest reloads."""
        guest = self.with_device(guest)
        device = self.pick(guest, number)[1]
        self.operator(device.names[member % len(device.names)].rstrip(), define)
        for text in texts:
            if device in self.models[guest].devices.values():
                self.shared(guest, [*self.models[guest].devices.values()].index(device), text)

    @rule(name=st.sampled_from(sorted(DEFINITIONS)), define=st.booleans())
    def operator(self, name: str, define: bool) -> None:
        """Purge a segment, or put an empty one in its place."""
        if define:
            self.saveseg(name)
        elif name in self.model_cp.available:
            assert self.cp.execute(f"PURGE NSS NAME {name}").return_code == 0
            del self.model_cp.available[name]

    @rule(guest=guests)
    def die_and_start_again(self, guest: str) -> None:
        self.contexts[guest].close()
        self.models[guest].die()
        self.boot(guest)

    @invariant()
    def disks_are_the_models(self) -> None:
        for name, model in getattr(self, "models", {}).items():
            guest = self.guests[name]
            found = {
                minor: (
                    [member.name for member in device.members],
                    device.is_shared,
                    device.save_pending,
                    device.use_count,
                )
                for minor, device in guest.kernel.dcssblk.devices.items()
            }
            assert found == {m: (d.names, d.shared, d.pending, d.opens) for m, d in model.devices.items()}
            for minor, device in model.devices.items():
                real = guest.kernel.dcssblk.devices[minor]
                assert (real.name, real.read_only) == (f"dcssblk{minor}", device.read_only)
                assert (real.start >> 12, real.size_bytes >> 12) == (device.pages.start, len(device.pages))

    @invariant()
    def loads_are_the_models(self) -> None:
        for name, model in getattr(self, "models", {}).items():
            loads = {segment: not load.shared for segment, load in self.cp.loaded(name).items()}
            assert loads == {segment: each.nonshared for segment, each in model.loaded.items()}
            extmem = self.guests[name].kernel.extmem
            assert {s.name: s.users for s in extmem.segments()} == {n: each.users for n, each in model.loaded.items()}
            resources = [(r.name, r.start >> 12, r.end >> 12, r.read_only) for r in extmem.iomem][1:]
            assert resources == [
                (f"{n:8} (DCSS)", pages_of(n)[0], pages_of(n)[-1], model.loaded[n].read_only_resource)
                for n in sorted(model.loaded, key=lambda n: pages_of(n).start)
            ]
        for segment, version in getattr(self, "model_cp", ModelCp()).available.items():
            assert self.cp.users(segment) == len(version.users)

    @invariant()
    def storage_is_the_models(self) -> None:
        for name, model in getattr(self, "models", {}).items():
            machine = self.guests[name].kernel.machine
            for segment in model.loaded:
                seen = model.seen(segment)
                for page in self.touched & {*pages_of(segment)}:
                    found = bytes(hostmem.view(machine.absolute(page), TEXT_BYTES))
                    assert found == seen.get(page, bytes(TEXT_BYTES)), (name, segment, hex(page))


DcssblkMachine.TestCase.settings = settings(stateful_step_count=40)
TestDcssblkMachine = DcssblkMachine.TestCase
