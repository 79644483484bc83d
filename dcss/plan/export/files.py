"""The files that an export consists of, and what is asked of virtual machines."""

import textwrap
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A text file of an export."""

    name: str
    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What virtual machines get: their memory, the kernel that boots, and the directory in which images lie."""

    directory: Path
    memory_bytes: int = 512 << 20
    kernel: str = "vmlinuz"


def comment(text: str) -> list[str]:
    """Return the lines of a comment of a shell script."""
    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def mount_script(devices: int) -> ExportedFile:
    """Return the script that mounts the devices in a virtual machine, in place."""
    lines = [
        "#!/bin/sh -e",
        *comment(
            "Mounts the images in place, in the virtual machine, as root: the kernel needs virtio_pmem or nfit,"
            " nd_pmem, and ext2 or ext4 with FS_DAX."
        ),
    ]
    for number in range(devices):
        target = f"/mnt/pmem{number}"
        lines += [f"mkdir -p {target}", f"mount -t ext2 -o ro,dax /dev/pmem{number} {target}"]
    return ExportedFile("mount.sh", "".join(f"{line}\n" for line in lines), executable=True)
