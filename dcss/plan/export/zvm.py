"""For z/VM: CP's commands, and the steps on Linux as shell scripts.

Sources: IBM's "Device Drivers, Features, and Commands", "Changing the contents of a DCSS", for the steps; Linux's
drivers/s390/block/dcssblk.c for the attributes. The scripts use plain commands only, one a line: the shell of guests
of engine process runs them too.
"""

from collections.abc import Iterator, Sequence

from dcss.plan.export.exported import ExportedDevice
from dcss.plan.export.files import ExportedFile, MachineOptions, comment

_SYSFS = "/sys/devices/dcssblk"


def files(devices: Sequence[ExportedDevice], options: MachineOptions) -> Iterator[ExportedFile]:
    """Yield the commands and scripts for each device, which is /dev/dcssblkN in their order."""
    del options
    for number, device in enumerate(devices):
        yield ExportedFile(f"{device.name}.cp", "".join(f"{line}\n" for line in cp_commands(device)))
        yield ExportedFile(f"{device.name}-save.sh", _script(save_lines(device, f"dcssblk{number}")), executable=True)
        yield ExportedFile(f"{device.name}-use.sh", _script(use_lines(device, f"dcssblk{number}")), executable=True)


def cp_commands(device: ExportedDevice) -> list[str]:
    """Return the commands of a user of class E, whose storage has the segments' addresses: saved, but empty."""
    return [
        *(segment.defseg for segment in device.segments),
        *(f"SAVESEG {segment.name}" for segment in device.segments),
    ]


def save_lines(device: ExportedDevice, disk: str) -> list[str]:
    """Return the lines that fill the segments from the image and save them."""
    names = ":".join(segment.name for segment in device.segments)
    return [
        *comment(
            f"Fills {names} with {device.image_name} and saves it. Run this as root in the image's directory, on a"
            " Linux whose user has class E and whose storage ends below the segment, when CP has the commands of"
            f" {device.name}.cp. The disk is /dev/{disk} where no other DCSS was added before."
        ),
        f"echo {names} > {_SYSFS}/add",
        *comment("exclusive-writable: a private copy, until it is saved"),
        f"echo 0 > {_SYSFS}/{device.name}/shared",
        f"cp {device.image_name} /dev/{disk}",
        "sync",
        f"echo 1 > {_SYSFS}/{device.name}/save",
        f"echo {device.name} > {_SYSFS}/remove",
    ]


def use_lines(device: ExportedDevice, disk: str) -> list[str]:
    """Return the lines that mount the segments in place."""
    names = ":".join(segment.name for segment in device.segments)
    return [
        *comment(
            f"Mounts {names} in place, on each Linux that shares it, as root. Before Linux 4.0 the option is xip; since"
            " then it is dax, which 6.15 to 6.17 do not have for a DCSS."
        ),
        f"echo {names} > {_SYSFS}/add",
        "mkdir -p /mnt",
        f"mount -t ext2 -o ro,xip /dev/{disk} /mnt || mount -t ext2 -o ro,dax /dev/{disk} /mnt",
        *comment("then over the real paths, such as: mount --bind /mnt/usr/lib /usr/lib"),
    ]


def _script(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in ("#!/bin/sh -e", *lines))
