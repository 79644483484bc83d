"""For Firecracker: the configuration file, with a pmem device for each image, read-only.

Sources: Firecracker's docs/pmem.md and src/firecracker/swagger/firecracker.yaml (FullVmConfiguration, Pmem: id,
path_on_host, root_device, read_only). pmem is there from version 1.14 on; ids are letters, digits and _. A device
covers whole units of 2 MiB. Its documentation advises against one file for machines that do not trust each other.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from dcss.plan.export.exported import ExportedDevice
from dcss.plan.export.files import ExportedFile, MachineOptions, mount_script


def files(devices: Sequence[ExportedDevice], options: MachineOptions) -> Iterator[ExportedFile]:
    """Yield the file for --config-file, and the script that mounts in the machine."""
    yield ExportedFile("firecracker.json", json.dumps(configuration(devices, options), indent=2) + "\n")
    yield mount_script(len(devices))


def configuration(devices: Sequence[ExportedDevice], options: MachineOptions) -> dict[str, Any]:
    """Return the configuration, to which drives and network are added."""
    return {
        "boot-source": {"kernel_image_path": options.kernel, "boot_args": "console=ttyS0 reboot=k panic=1"},
        "drives": [],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": options.memory_bytes >> 20},
        "pmem": [
            {
                "id": f"pmem{number}",
                "path_on_host": str(options.directory / device.image_name),
                "root_device": False,
                "read_only": True,
            }
            for number, device in enumerate(devices)
        ],
    }
