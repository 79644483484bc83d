"""For libvirt: a domain with an NVDIMM for each image, read-only and shared.

Source: libvirt's "Domain XML format", memory devices. Its model virtio-pmem has no `readonly`, so a guest could write
to what all others share: an NVDIMM has. Its size is in whole units of 2 MiB, and it needs a NUMA node and maxMemory.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from dcss.plan.export.exported import ExportedDevice
from dcss.plan.export.files import ExportedFile, MachineOptions, mount_script


def files(devices: Sequence[ExportedDevice], options: MachineOptions) -> Iterator[ExportedFile]:
    """Yield the domain, and the script that mounts in the machine."""
    root = domain(devices, options)
    ET.indent(root)
    yield ExportedFile("domain.xml", ET.tostring(root, encoding="unicode") + "\n")
    yield mount_script(len(devices))


def domain(devices: Sequence[ExportedDevice], options: MachineOptions) -> ET.Element:
    """Return the domain, to which disks and network are added."""
    memory_kib = options.memory_bytes >> 10
    most_kib = memory_kib + sum(device.size_bytes for device in devices) // 1024
    root = ET.Element("domain", type="kvm")
    ET.SubElement(root, "name").text = devices[0].name.lower()
    ET.SubElement(root, "maxMemory", slots=str(len(devices)), unit="KiB").text = str(most_kib)
    ET.SubElement(root, "memory", unit="KiB").text = str(memory_kib)
    ET.SubElement(root, "vcpu").text = "1"
    system = ET.SubElement(root, "os")
    ET.SubElement(system, "type", arch="x86_64", machine="q35").text = "hvm"
    ET.SubElement(system, "kernel").text = str(options.directory / options.kernel)
    ET.SubElement(system, "cmdline").text = "console=ttyS0"
    ET.SubElement(ET.SubElement(root, "features"), "acpi")
    numa = ET.SubElement(ET.SubElement(root, "cpu"), "numa")
    ET.SubElement(numa, "cell", id="0", cpus="0", memory=str(memory_kib), unit="KiB")
    found = ET.SubElement(root, "devices")
    for device in devices:
        found.append(_nvdimm(device, options))
    ET.SubElement(ET.SubElement(found, "console", type="pty"), "target", type="serial", port="0")
    return root


def _nvdimm(device: ExportedDevice, options: MachineOptions) -> ET.Element:
    memory = ET.Element("memory", model="nvdimm", access="shared")
    source = ET.SubElement(memory, "source")
    ET.SubElement(source, "path").text = str(options.directory / device.image_name)
    target = ET.SubElement(memory, "target")
    ET.SubElement(target, "size", unit="KiB").text = str(device.size_bytes // 1024)
    ET.SubElement(target, "node").text = "0"
    ET.SubElement(target, "readonly")
    return memory
