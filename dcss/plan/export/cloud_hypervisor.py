"""For Cloud Hypervisor: the command line, and the body of the API's vm.create, with a pmem device for each image.

Source: Cloud Hypervisor's vmm/src/api/openapi/cloud-hypervisor.yaml (VmConfig, PmemConfig: file, size, discard_writes)
and docs/memory.md. `discard_writes` maps the file privately: guests share its pages, and what one writes is its own
copy. A file's size must be in whole units of 2 MiB.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from dcss.plan.export.exported import ExportedDevice
from dcss.plan.export.files import ExportedFile, MachineOptions, comment, mount_script

_COMMAND_LINE = "console=ttyS0"


def files(devices: Sequence[ExportedDevice], options: MachineOptions) -> Iterator[ExportedFile]:
    """Yield the script that starts the machine, the body of vm.create, and the script that mounts in the machine."""
    lines = [
        "#!/bin/sh -e",
        *comment(
            "Starts Cloud Hypervisor with the images beside this script. What is given to the script goes to it:"
            " disks, network."
        ),
        'cd "$(dirname "$0")"',
        f'exec {command_line(devices, options)} "$@"',
    ]
    yield ExportedFile("run-cloud-hypervisor.sh", "".join(f"{line}\n" for line in lines), executable=True)
    yield ExportedFile("vm.json", json.dumps(configuration(devices, options), indent=2) + "\n")
    yield mount_script(len(devices))


def command_line(devices: Sequence[ExportedDevice], options: MachineOptions) -> str:
    """Return the command in several lines of a shell script."""
    groups = [
        ["cloud-hypervisor", "--kernel", options.kernel, "--cmdline", _COMMAND_LINE],
        ["--cpus", "boot=1", "--memory", f"size={options.memory_bytes >> 20}M"],
        ["--serial", "tty", "--console", "off"],
        ["--pmem", *(f"file={device.image_name},discard_writes=on" for device in devices)],
    ]
    return " \\\n    ".join(map(shlex.join, groups))


def configuration(devices: Sequence[ExportedDevice], options: MachineOptions) -> dict[str, Any]:
    """Return the body of vm.create."""
    return {
        "payload": {"kernel": options.kernel, "cmdline": _COMMAND_LINE},
        "cpus": {"boot_vcpus": 1, "max_vcpus": 1},
        "memory": {"size": options.memory_bytes},
        "pmem": [{"file": str(options.directory / device.image_name), "discard_writes": True} for device in devices],
    }
