"""A guest for tests of dcssblk: its attributes in sysfs as a shell sees them, its opens, its log, ready segments."""

import re

from cp_support import BlockingCp

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE
from vmguest.block.dcssblk import DcssblkDevice
from vmguest.block.dcssblk_sysfs import driver_tree
from vmguest.block.device import DeviceHandle
from vmguest.fs.sysfs import AttributeFile, SysfsAttribute, SysfsDirectory, SysfsEntry
from vmguest.kernel import Kernel

MIB = 1 << 20
TYPES = [each for each in SegmentType if each is not SegmentType.EWEN]
# What CP defines and saves when a step first names it.
PLACES = {"LIB": "20000-200FF SR", "MORE": "20100-201FF SR", "THIRD": "20200-202FF SR", "FAR": "20400-204FF SR"}
PLACES |= {"NEAR": "20500-2057F SR", "NEXT": "20580-205FF SR", "LOW": "00300-003FF SR", "TYPESW": "20300-203FF SW"}
PLACES |= {"EW": "30000-300FF EW", "EN": "30100-301FF EN", "ER": "30200-302FF ER", "EW2": "30300-303FF EW"}
PLACES |= {"MIX": "30400-304FF EW 30500-305FF EN", "EN2": "30600-306FF EN", "TWO": "40000-400FF SR 40100-401FF SN"}
PLACES |= {"SW": "50000-500FF SW", "SN": "50100-501FF SN", "MON": "50200-502FF SC"}
PLACES |= {"SECRET": "60000-600FF SR RSTD"}
SECTORS = 2048  # of one megabyte


class Guest:
    """A guest, its opens by device, and what is below its /sys/devices/dcssblk."""

    def __init__(self, cp: BlockingCp, kernel: Kernel) -> None:
        self.cp = cp
        self.kernel = kernel
        self.opens: dict[str, list[DeviceHandle]] = {}

    def device(self, name: str) -> DcssblkDevice:
        device = self.kernel.dcssblk.by_segment(name)
        assert device is not None
        return device

    def define(self, text: str) -> None:
        """Have CP save the segments that a text names."""
        for name in set(re.findall(r"\w+", text.upper())) & PLACES.keys() - self.cp.available.keys():
            assert self.cp.execute(f"DEFSEG {name} {PLACES[name]}").return_code == 0
            assert self.cp.execute(f"SAVESEG {name}").return_code == 0

    def do(self, step: str) -> None:
        """Take one step. Raises KernelError as a system call would return it."""
        if step.startswith("add="):
            self.define(step)
        verb, _, name = step.partition(" ")
        if verb == "cp":
            assert self.cp.execute(name).return_code == 0
        elif verb == "open":
            self.opens.setdefault(name, []).append(self.device(name).open())
        elif verb == "close":
            self.device(name).release(self.opens[name].pop())
        else:
            path, _, text = step.partition("=")
            self.store(path, text)

    def store(self, path: str, text: str) -> None:
        """Write an attribute below /sys/devices/dcssblk. Raises KernelError as write(2) would return it."""
        assert AttributeFile(self.attribute(path)).write(0, text.encode()) == len(text)

    def attribute(self, path: str) -> SysfsAttribute:
        found: SysfsEntry = self.tree()
        for name in path.encode().split(b"/"):
            assert isinstance(found, dict)
            found = found[name]
        assert isinstance(found, SysfsAttribute)
        return found

    def tree(self) -> SysfsDirectory:
        return driver_tree(self.kernel.dcssblk)

    def show(self, path: str) -> str:
        show = self.attribute(path).show
        assert show is not None
        return show()

    def log(self) -> list[str]:
        return [f"{level} {message}" for _, level, message in self.kernel.log._ring]

    def page(self, text: bytes = b"", pages: int = 1) -> int:
        """Return the host address of new storage that begins with `text`."""
        frame = self.kernel.machine.storage.allocate(pages)
        self.kernel.machine.storage.view(frame * PAGE_SIZE, len(text))[:] = text
        return self.kernel.machine.storage.address(frame)

    def bytes_at(self, address: int, size_bytes: int) -> bytes:
        storage = self.kernel.machine.storage
        return bytes(storage.view(address - storage.base, size_bytes))
