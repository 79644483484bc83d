"""What a guest of this engine is given to boot from."""

from dcss.config.plan import GuestPlan, MountPlan, ProcessSettings, Step
from vmguest.spec import FULL, GuestSpec


def spec_of(plan: GuestPlan) -> GuestSpec:
    """Return what the guest kernel has to know of its guest's plan."""
    return GuestSpec(
        plan.name,
        plan.storage_bytes,
        plan.dcssblk,
        tuple((mount.device, mount.at, mount.kernel_options, _device_of(mount)) for mount in plan.mounts),
        tuple(_step_of(step) for step in plan.run),
        tuple((disk.name, disk.writable) for disk in plan.disks),
        plan.settings.boot if isinstance(plan.settings, ProcessSettings) else FULL,
        plan.timings,
    )


def _device_of(mount: MountPlan) -> str:
    """Return the kind of device that the guest makes for a mount; nothing where it mounts the disk itself."""
    return mount.mode if mount.mode in {"ramdisk", "mtd"} else ""


def _step_of(step: Step) -> tuple[str, ...]:
    words = (step.argument,) if isinstance(step.argument, str) else step.argument
    return (step.verb, *words)
