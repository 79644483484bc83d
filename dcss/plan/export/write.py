"""Write an export: its text files and images, into a directory."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from dcss.errors import ConfigError, ImageError
from dcss.host.files import appearing_whole, write_all
from dcss.plan.export import cloud_hypervisor, firecracker, libvirt, qemu, zvm
from dcss.plan.export.exported import ExportedDevice
from dcss.plan.export.files import ExportedFile, MachineOptions
from dcss.progress import Progress

Target = Literal["zvm", "qemu", "libvirt", "firecracker", "cloud-hypervisor"]


class _Maker(Protocol):
    def __call__(self, devices: Sequence[ExportedDevice], options: MachineOptions) -> Iterator[ExportedFile]: ...


MAKERS: Final[dict[Target, _Maker]] = {
    "zvm": zvm.files,
    "qemu": qemu.files,
    "libvirt": libvirt.files,
    "firecracker": firecracker.files,
    "cloud-hypervisor": cloud_hypervisor.files,
}


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written: its path and its bytes."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ExportedSegmentResult:
    """One segment of a device, and CP's command that defines it."""

    name: str
    address: int
    bytes: int
    defseg: str


@dataclass(frozen=True, slots=True)
class ExportedDeviceResult:
    """One image, the segments that it lies over, and what of it is a file system."""

    image: str
    bytes: int
    file_system_bytes: int
    segments: tuple[ExportedSegmentResult, ...]


@dataclass(frozen=True, slots=True)
class ExportedText:
    """A text file of an export."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was exported. `written` is empty where nothing was written."""

    target: Target
    devices: tuple[ExportedDeviceResult, ...]
    files: tuple[ExportedText, ...]
    written: tuple[Written, ...]
    notes: tuple[str, ...]


def export_result(
    target: Target,
    devices: Sequence[ExportedDevice],
    files: Sequence[ExportedFile],
    written: Sequence[Written] | None,
    notes: Sequence[str],
) -> ExportResult:
    """Return an export as plain data."""
    return ExportResult(
        target=target,
        devices=tuple(
            ExportedDeviceResult(
                image=device.image_name,
                bytes=device.size_bytes,
                file_system_bytes=device.image.file_system_bytes,
                segments=tuple(
                    ExportedSegmentResult(each.name, each.address, each.size_bytes, each.defseg)
                    for each in device.segments
                ),
            )
            for device in devices
        ),
        files=tuple(ExportedText(file.name, file.text) for file in files),
        written=tuple(written or ()),
        notes=tuple(notes),
    )


def write_export(
    devices: Sequence[ExportedDevice],
    files: Sequence[ExportedFile],
    directory: Path,
    progress: Progress,
    *,
    replace: bool,
) -> list[Written]:
    """Write images and files into `directory`, which is made if need be, and return what was written, in order.

    Raises ConfigError where a file is there already and `replace` is not given, ImageError where one cannot be written.
    """
    paths = [directory / name for name in (*(device.image_name for device in devices), *(file.name for file in files))]
    there = [path for path in paths if os.path.lexists(path)]
    if there and not replace:
        more = f" and {len(there) - 1} more files" if len(there) > 1 else ""
        raise ConfigError(f"-o: found {there[0]}{more} there already, wanted new files; --force writes over them")
    written = []
    try:
        for device in devices:
            path = directory / device.image_name
            progress.phase(f"build {path.name}", device.image.content_bytes, "bytes")
            with appearing_whole(path) as descriptor:
                device.image.write(descriptor, progress.advance)
                os.ftruncate(descriptor, device.size_bytes)
            written.append(Written(str(path), device.size_bytes))
        for file in files:
            path, content = directory / file.name, os.fsencode(file.text)
            with appearing_whole(path, 0o777 if file.executable else 0o666) as descriptor:
                write_all(descriptor, content)
            written.append(Written(str(path), len(content)))
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror}") from error
    return written
