"""The validated, frozen plan of a system: the YAML with every default filled in and every path absolute."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from dcss.abi.extmem import SegmentDefinition, SegmentType
from dcss.abi.mount import IN_PLACE
from dcss.config.names import joined_names
from dcss.config.problems import Place
from dcss.config.sources import DEBIANS_OWN_KERNEL, ImageSource, KernelSource

Boot = Literal["clone", "full"]
EngineName = Literal["process", "s390x", "linux"]
Arch = Literal["s390x", "x86_64"]
DEVICE_BYTES = 2 << 20  # a segment that is a device has a multiple of these: a subsection of Linux' sparse memory
DEFAULT_ENGINE: EngineName = "process"
Expectation = Literal["shared", "copies", "nothing"]
Restart = Literal["no", "on-failure"]
HugePages = Literal["auto", "never", "require"]
MountMode = Literal["xip", "page-cache", "ramdisk", "mtd"]
MountType = Literal["ext2", "tmpfs"]
PlacementRule = Literal["pack", "spread"]
MAX_GUESTS = 99_999  # of one system; more than Linux gives processes by default
MAX_DISKS = 26  # of one guest: as many as vda to vdz


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """One segment: where it lies, and what goes in.

    Either `definition` (from `define:`) or `start_address` and `type` (from `at:` and `type:`; the size is the
    image's own or `size_bytes`) is given; a saved segment, which has no `image`, may have neither. `save` is for one
    with an image. `huge_pages` says whether it gets them. `continues` names the segment whose image goes on here.
    A size that is the image's own is rounded up to `multiple_bytes`.
    `where` is file:line for messages, `place` names fields of the file too.
    """

    name: str
    definition: SegmentDefinition | None
    start_address: int | None
    type: SegmentType | None
    size_bytes: int | None
    image: ImageSource | None
    save: bool
    where: str
    place: Place | None = field(default=None, repr=False, compare=False)
    continues: str | None = None
    huge_pages: HugePages = "auto"
    multiple_bytes: int = 1


def image_groups(segments: Sequence[SegmentPlan]) -> list[tuple[SegmentPlan, ...]]:
    """Return each segment, followed by those that continue its image, which are in no other group."""
    by_name = {segment.name: segment for segment in segments}
    groups = joined_names({segment.name: segment.continues for segment in segments})
    return [tuple(by_name[name] for name in names) for names in groups]


@dataclass(frozen=True, slots=True)
class MountPlan:
    """One line of `mounts:`; without a `mode` the options say whether files are reached in place.

    The device of a tmpfs is called tmpfs, and there is none.
    """

    device: str
    at: str
    options: tuple[str, ...]
    mode: MountMode | None = None
    type: MountType = "ext2"

    @property
    def kernel_options(self) -> tuple[str, ...]:
        """The options with those that the mode stands for."""
        added = {"xip": ("xip",), "mtd": ("ro", "xip")}.get(self.mode or "", ())
        return (*self.options, *(option for option in added if option not in self.options))

    @property
    def in_place(self) -> bool:
        """Whether files are to be read and mapped where they lie."""
        return not IN_PLACE.isdisjoint(self.kernel_options)


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """One line of `disks:`: a file of this machine that is a disk of the guest. `where` names its field `file`."""

    name: str
    path: Path
    writable: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of `run:`: its verb and its argument, as YAML has them."""

    verb: Literal["map", "read", "load", "exec"]
    argument: str | tuple[str, ...]
    background: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    strace: bool = False


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """`engine: process`: a guest kernel in a process of this machine.

    `boot` is clone for guests that are cloned from the first one of their entry, where that can be.
    """

    engine: ClassVar[EngineName] = "process"
    boot: Boot = "full"


@dataclass(frozen=True, slots=True)
class S390xSettings:
    """`engine: s390x`: the same with an s390x CPU, for programs. `time_limit_seconds` is for its `run:` list."""

    engine: ClassVar[EngineName] = "s390x"
    boot: Boot = "full"
    time_limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LinuxSettings:
    """`engine: linux`: a virtual machine with a Linux kernel; `append` is more of its command line."""

    engine: ClassVar[EngineName] = "linux"
    kernel: KernelSource = DEBIANS_OWN_KERNEL
    arch: Arch = "s390x"
    cpus: int = 1
    append: str = ""
    time_limit_seconds: float | None = None


EngineSettings = ProcessSettings | S390xSettings | LinuxSettings


@dataclass(frozen=True, slots=True)
class GuestPlan:
    """One guest; a YAML entry with `count:` gives several. `settings` has what only its engine knows."""

    name: str
    settings: EngineSettings
    storage_bytes: int
    dcssblk: tuple[str, ...]
    mounts: tuple[MountPlan, ...]
    expect: Expectation
    run: tuple[Step, ...]
    where: str
    after: tuple[str, ...] = ()  # names of guests, each of a `count:` on its own
    restart: Restart = "no"
    namesave: tuple[str, ...] = ()
    privilege: str = "G"
    disks: tuple[DiskPlan, ...] = ()
    timings: bool = False  # it says where its start goes

    @property
    def has_devices(self) -> bool:
        """Whether segments are devices of the guest's machine, rather than loaded by its kernel."""
        return isinstance(self.settings, LinuxSettings) and self.settings.arch == "x86_64"

    @property
    def engine(self) -> EngineName:
        """What the guest runs on."""
        return self.settings.engine


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """One system."""

    name: str
    segments: tuple[SegmentPlan, ...]
    guests: tuple[GuestPlan, ...]
    path: Path
    warnings: tuple[str, ...] = field(default=())
