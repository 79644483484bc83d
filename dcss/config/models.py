"""The models of the YAML: its keys, their types and descriptions; load.py makes a plan of them.

Only this package imports pydantic.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import ErrorDetails

from dcss.config.plan import (
    DEFAULT_ENGINE,
    MAX_DISKS,
    Arch,
    Boot,
    EngineName,
    Expectation,
    HugePages,
    MountMode,
    MountType,
    PlacementRule,
)
from dcss.config.problems import Location
from dcss.config.values import (
    GIVEN,
    Address,
    Architecture,
    DiskName,
    Environment,
    GuestPath,
    HostName,
    HostNames,
    Mirror,
    Name,
    Option,
    PackageName,
    Privilege,
    RangeWords,
    Restart,
    Seconds,
    SegmentSize,
    Size,
    Storage,
    Suite,
    SystemName,
    Text,
    UpTo,
    Words,
)

DEFAULT_STORAGE_BYTES = 64 << 20
DEFAULT_LINUX_STORAGE_BYTES = 256 << 20  # Debian's kernel comes up with half of it


class Model(BaseModel):
    """Base of all models: no key beyond the known ones, and no value turned into another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class AtLeastModel(Model):
    """`at_least:`: less than this found on the machine is an error."""

    files: Annotated[int, Field(ge=0)] = Field(0, description="the minimum number of regular files")
    size: Size = Field(0, description="the minimum number of bytes in all of them")


class DebianModel(Model):
    """`debian:`: packages of Debian, for any of its architectures."""

    packages: Annotated[list[PackageName], Field(min_length=1)] = Field(
        description="names of packages, also NAME=VERSION; what they depend on is added"
    )
    suite: Annotated[Suite | None, GIVEN] = Field(
        None, description="the release, such as bookworm; this machine's own where that is Debian"
    )
    arch: Architecture = Field("s390x", description="the architecture, as Debian calls it")
    mirror: Annotated[Mirror | None, GIVEN] = Field(
        None, description="the archive to use, instead of the sources that this machine's apt has for the suite"
    )
    keyring: Annotated[Text | None, GIVEN] = Field(
        None, description="a file with the keys that the archive must be signed by, instead of those that apt trusts"
    )
    busybox_links: bool = Field(
        True, description="where busybox is among the packages: links for the commands that nothing else provides"
    )


class ImageModel(Model):
    """`image:`: exactly one of `files`, `directory`, `tar`, `debian`, `ext2` and `continues`."""

    files: Annotated[Annotated[list[Text], Field(min_length=1)] | None, GIVEN] = Field(
        None, description="patterns for files, which keep their paths; ** matches any number of directories"
    )
    directory: Annotated[Text | None, GIVEN] = Field(
        None, description="a directory whose content becomes the root of the image"
    )
    tar: Annotated[Text | None, GIVEN] = Field(
        None, description="a tar archive, which may be compressed or written by docker save"
    )
    debian: Annotated[DebianModel | None, GIVEN] = Field(
        None, description="packages of Debian, with all that they depend on"
    )
    ext2: Annotated[Text | None, GIVEN] = Field(None, description="an existing ext2 image, used unchanged")
    continues: Annotated[Name | None, GIVEN] = Field(
        None, description="the segment before this one, whose image goes on here: one device of several segments"
    )
    offset: Size = Field(
        0, description="with ext2: the byte at which the file system begins in the file, as in that of a partition"
    )
    platform: Annotated[Text | None, GIVEN] = Field(
        None, description="with tar: of several container images, the one for this platform, such as linux/s390x"
    )
    tag: Annotated[Text | None, GIVEN] = Field(
        None, description="with tar: of several container images, the one tagged so"
    )
    at_least: Annotated[AtLeastModel | None, GIVEN] = Field(None, description="with files: the minimum that must match")
    up_to: UpTo = Field(None, description="with files: the maximum size; files that would exceed it are left out")
    exclude: list[Text] = Field(
        [], description="with files: patterns for what is left out, with all that lies below it"
    )
    with_libraries: bool = Field(
        False, description="with files: add the shared libraries that the files need, and the dynamic loader"
    )


class SegmentModel(Model):
    """One entry of `segments:`."""

    name: Name = Field(description="the segment's name: 1 to 8 characters of A-Z 0-9 @ # $")
    define: Annotated[Annotated[list[RangeWords], Field(min_length=1)] | None, GIVEN] = Field(
        None, description="page ranges as DEFSEG takes them: first and last page in hex, and a type"
    )
    at: Address = Field(None, description="instead of define: the absolute address of the first byte")
    type: Literal["SW", "EW", "SR", "ER", "SN", "EN", "SC"] = Field("SR", description="with at: the type of all pages")
    size: SegmentSize = Field(None, description="with at: the segment's size; auto makes it as large as the image")
    image: Annotated[ImageModel | None, GIVEN] = Field(
        None, description="the content; without it, the saved segment of that name is used"
    )
    save: bool = Field(False, description="with image: save the segment in the spool")
    huge_pages: HugePages = Field(
        "auto",
        description="auto: the segment lies in huge pages of 2 MiB where the machine has them; require: it is an error"
        " where it has not; never: it lies in pages of 4 KiB",
    )


class MountModel(Model):
    """One entry of `mounts:`."""

    type: MountType = Field(
        "ext2", description="the type of file system: ext2, on a device; tmpfs, empty and in the guest's real storage"
    )
    device: Annotated[Text | None, GIVEN] = Field(
        None,
        description="with type ext2: a block device of the guest: dcssblk0 is the first of dcssblk:; or the name of one"
        " of disks:",
    )
    at: GuestPath = Field(description="the mount point in the guest")
    options: list[Option] = Field([], description="mount options; without xip, the guest copies the files")
    mode: Annotated[MountMode | None, GIVEN] = Field(
        None,
        description="how file bytes are reached: xip, in place; page-cache, through copies; ramdisk, through copies of"
        " a disk that is itself copied; mtd, in place through a read-only device. Without it, options: decide",
    )


class DiskModel(Model):
    """One entry of `disks:`."""

    name: DiskName = Field(description="the disk's name in the guest, such as vdb: /dev/vdb")
    file: Text = Field(description="a regular file of this machine: the disk's content")
    writable: bool = Field(False, description="true: what the guest writes to the disk is written to the file")


class StepModel(Model):
    """One entry of `run:`: exactly one of `map`, `read`, `load` and `exec`."""

    map: Annotated[GuestPath | None, GIVEN] = Field(
        None, description="map every file that the pattern matches, make every page present, and keep it mapped"
    )
    read: Annotated[GuestPath | None, GIVEN] = Field(
        None, description="read every file that the pattern matches with read(2)"
    )
    load: Annotated[GuestPath | None, GIVEN] = Field(
        None,
        description="copy every file that the pattern matches into the guest kernel, as a kernel or its modules are",
    )
    exec: Annotated[Words | None, GIVEN] = Field(
        None, description="a list of a command and its arguments, or a line that is passed to sh -c"
    )
    background: bool = Field(False, description="with exec: do not wait until the program ends")
    environment: Environment = Field({}, description="with exec: variables beside those that every program gets")
    strace: bool = Field(False, description="with exec: write a line to the guest's log for each system call")


_ENGINE_DESCRIPTION = (
    "process: a guest kernel with a small shell; s390x: the same kernel, and unmodified s390x programs; linux: a"
    " virtual machine with an unmodified Linux kernel"
)


class GuestModel(Model):
    """One entry of `guests:`, which `count` turns into several guests: the keys that it has with every engine."""

    name: Name = Field(description="the guest's name; at most 8 characters, including its number")
    count: Annotated[Annotated[int, Field(ge=1)] | None, GIVEN] = Field(
        None,
        description="the number of guests; their names end with numbers from 1; without it, one guest without a number",
    )
    numbers: Annotated[Annotated[list[int], Field(min_length=2, max_length=2)] | None, GIVEN] = Field(
        None, description="with count: the first and the last number of those guests of the entry that the system has"
    )
    engine: EngineName = Field(DEFAULT_ENGINE, description=_ENGINE_DESCRIPTION)
    storage: Storage = Field(
        DEFAULT_STORAGE_BYTES, description="real storage: a limit for the copies that the guest makes"
    )
    namesave: list[Name] = Field([], description="restricted segments (RSTD) that the guest may load")
    privilege: Privilege = Field("G", description="privilege classes for CP commands; DEFSEG and SAVESEG need E")
    dcssblk: Annotated[list[Text] | None, GIVEN] = Field(
        None, description='the dcssblk devices, in order; "A:B" is one device of two segments, "A(local)" is exclusive'
    )
    mounts: list[MountModel] = Field([], description="the file systems to mount, in order")
    disks: Annotated[list[DiskModel], Field(max_length=MAX_DISKS)] = Field(
        [], description="files of this machine that are disks of the guest, beside those of dcssblk:"
    )
    expect: Expectation = Field(
        "shared", description="shared; copies for a baseline; nothing for a guest that no claim is about"
    )
    run: list[StepModel] = Field([], description="the workload, in order")
    after: list[Name] = Field(
        [], description="other guests; this one starts when their `run:` lists have ended successfully"
    )
    restart: Restart = Field("no", description="on-failure: restart the guest when it fails or is killed")


class ClonedGuestModel(GuestModel):
    """A guest that can be a clone of another one of its entry."""

    boot: Boot = Field(
        "clone",
        description="clone: with count: above 1, guests are cloned from the first one and make its hypercalls, which"
        " costs less memory and time; full: each one boots",
    )


class ProcessGuestModel(ClonedGuestModel):
    """A guest of engine process, which is the default."""

    engine: Literal["process"] = Field("process", description=_ENGINE_DESCRIPTION)


class S390xGuestModel(ClonedGuestModel):
    """A guest of engine s390x."""

    engine: Literal["s390x"] = Field(description=_ENGINE_DESCRIPTION)
    time_limit: Seconds = Field(None, description="seconds that the `run:` list may take; the guest fails after them")


class DebianKernelModel(Model):
    """`debian:` of `kernel:`: a kernel package of Debian."""

    suite: Annotated[Suite | None, GIVEN] = Field(
        None, description="the release, such as trixie; this machine's own where that is Debian"
    )
    package: Annotated[PackageName | None, GIVEN] = Field(
        None, description="the package, such as linux-image-s390x, which is the one for s390x"
    )


class KernelModel(Model):
    """`kernel:`: a path, or a mapping with `debian`."""

    model_config = ConfigDict(json_schema_extra={"type": ["string", "object"]})

    file: Annotated[Text | None, GIVEN] = Field(
        None, description="an image, or the directory of a kernel's build; `kernel: PATH` is the same"
    )
    debian: Annotated[DebianKernelModel | None, GIVEN] = Field(None, description="a kernel package of Debian")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, found: object) -> object:
        return {"file": found} if isinstance(found, str) else found


class LinuxGuestModel(GuestModel):
    """A guest of engine linux."""

    engine: Literal["linux"] = Field(description=_ENGINE_DESCRIPTION)
    kernel: Annotated[KernelModel | None, GIVEN] = Field(
        None, description="the kernel: a file, the directory of a build, or a package; Debian's own by default"
    )
    arch: Arch = Field(
        "s390x", description="the architecture; an x86_64 kernel has segments as read-only virtio-pmem devices"
    )
    cpus: Annotated[int, Field(ge=1, le=64)] = Field(1, description="the number of virtual CPUs")
    append: str = Field("", description="more parameters for the kernel's command line")
    storage: Storage = Field(
        DEFAULT_LINUX_STORAGE_BYTES, description="real storage: what the kernel has beside segments"
    )
    time_limit: Seconds = Field(None, description="seconds from the start to the end of the `run:` list")


_GUEST_MODELS: Mapping[EngineName, type[GuestModel]] = {
    "process": ProcessGuestModel,
    "s390x": S390xGuestModel,
    "linux": LinuxGuestModel,
}


def _engine_of(guest: object) -> EngineName:
    """Return the engine whose keys an entry of `guests:` is judged by: the default one where it names none."""
    named = guest.get("engine") if isinstance(guest, Mapping) else getattr(guest, "engine", None)
    return next((engine for engine in _GUEST_MODELS if engine == named), DEFAULT_ENGINE)


# pydantic's own discriminator would want the key; and a guest whose engine is unknown has its other keys checked too.
AnyGuestModel = Annotated[
    Annotated[ProcessGuestModel, Tag("process")]
    | Annotated[S390xGuestModel, Tag("s390x")]
    | Annotated[LinuxGuestModel, Tag("linux")],
    Discriminator(_engine_of),
]


class SystemModel(Model):
    """One system: its segments and its guests."""

    system: Annotated[SystemName | None, GIVEN] = Field(
        None, description="the system's name; without it, the file's name without its ending"
    )
    segments: Annotated[list[SegmentModel], Field(min_length=1)] = Field(description="the segments")
    guests: list[AnyGuestModel] = Field([], description="the guests")


class HostModel(Model):
    """One entry of `hosts:`: a name, or a mapping with `name`."""

    model_config = ConfigDict(json_schema_extra={"type": ["string", "object"]})

    name: HostName = Field(description="the host's name: that of its Dask worker; `- NAME` is the same")
    count: Annotated[Annotated[int, Field(ge=1, le=1_000_000)] | None, GIVEN] = Field(
        None, description="the number of hosts alike; their names end with numbers from 1"
    )
    memory: Annotated[Size | None, GIVEN] = Field(
        None, description="the most memory that the fleet may use there; without it, what is free"
    )
    guests: Annotated[Annotated[int, Field(ge=1)] | None, GIVEN] = Field(
        None, description="the most guests that the host gets"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, found: object) -> object:
        return {"name": found} if isinstance(found, str) else found


class FleetModel(SystemModel):
    """One system whose guests run on several hosts."""

    hosts: Annotated[list[HostModel], HostNames] = Field(
        [], description="the hosts that the guests run on; all: those of all Dask workers"
    )
    placement: PlacementRule = Field(
        "pack",
        description="pack: on as few hosts as have the memory; spread: as many guests on each host as on the others",
    )


def validate(data: object, kind: type[SystemModel] = SystemModel) -> tuple[SystemModel | None, list[ErrorDetails]]:
    """Return the model of `data`, or None and every error that pydantic found, at the place that the file has."""
    try:
        return kind.model_validate(data), []
    except ValidationError as error:
        return None, [_without_tag(each) for each in error.errors(include_url=False)]


def _without_tag(error: ErrorDetails) -> ErrorDetails:
    """Return an error at the place that the file has: pydantic puts the engine behind a guest's number.

    Where the engine itself is wrong, all engines are wanted.
    """
    location = error["loc"]
    if location[:1] != ("guests",) or len(location) <= _TAG_AT:
        return error
    error["loc"] = location[:_TAG_AT] + location[_TAG_AT + 1 :]
    if error["loc"][_TAG_AT:] == ("engine",):
        error["ctx"] = {"expected": ", ".join(_GUEST_MODELS)}
    return error


def known_keys(location: Location, data: Any, kind: type[SystemModel] = SystemModel) -> tuple[str, ...]:
    """Return the keys that the mapping at `location` of the document `data`, a system of this kind, may have."""
    model: type[BaseModel] = kind
    for key in location:
        data = data[key]
        if isinstance(key, str):
            model = DebianKernelModel if model is KernelModel else _MODELS[key]
    if model is GuestModel:
        model = _GUEST_MODELS[_engine_of(data)]
    return tuple(model.model_fields)


_TAG_AT = 2  # in ("guests", 0, "process", "storage")
_MODELS: dict[str, type[BaseModel]] = {
    "segments": SegmentModel,
    "image": ImageModel,
    "at_least": AtLeastModel,
    "debian": DebianModel,
    "guests": GuestModel,
    "mounts": MountModel,
    "disks": DiskModel,
    "kernel": KernelModel,
    "run": StepModel,
    "hosts": HostModel,
}
