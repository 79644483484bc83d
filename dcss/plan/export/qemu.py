"""For QEMU: a virtio-pmem device for each image, on a file backend that all machines share read-only.

Source: QEMU's docs/system/devices/virtio/virtio-pmem.rst. The kernel of the guest wants whole units of 2 MiB.
"""

import shlex
from collections.abc import Iterator, Sequence

from dcss.plan.export.exported import ExportedDevice
from dcss.plan.export.files import ExportedFile, MachineOptions, comment, mount_script


def files(devices: Sequence[ExportedDevice], options: MachineOptions) -> Iterator[ExportedFile]:
    """Yield the script that starts QEMU, and the one that mounts in the machine."""
    lines = [
        "#!/bin/sh -e",
        *comment(
            "Starts QEMU with the images beside this script, which all machines share. What is given to the script goes"
            " to QEMU: kernel, disks, network. ACCEL=tcg goes without KVM."
        ),
        'cd "$(dirname "$0")"',
        f"exec {command_line(devices, options)} \\",
        '    -accel "${ACCEL:-kvm}" "$@"',
    ]
    yield ExportedFile("run-qemu.sh", "".join(f"{line}\n" for line in lines), executable=True)
    yield mount_script(len(devices))


def command_line(devices: Sequence[ExportedDevice], options: MachineOptions) -> str:
    """Return the command in several lines of a shell script."""
    most_bytes = options.memory_bytes + sum(device.size_bytes for device in devices)
    groups = [["qemu-system-x86_64", "-m", f"{options.memory_bytes >> 20}M,slots=1,maxmem={most_bytes >> 20}M"]]
    for number, device in enumerate(devices):
        backend = f"memory-backend-file,id=pmem{number},share=on,readonly=on"
        groups.append(["-object", f"{backend},mem-path={device.image_name},size={device.size_bytes}"])
        groups.append(["-device", f"virtio-pmem-pci,memdev=pmem{number}"])
    return " \\\n    ".join(map(shlex.join, groups))
