"""What a guest of this engine is given to boot from."""

from collections.abc import Iterator, Sequence

from dcss.config.plan import GuestPlan, MountPlan, ProcessSettings, S390xSettings, Step
from vmguest.spec import FULL, TMPFS_MODE, GuestSpec, ProgramOptions


def spec_of(plan: GuestPlan) -> GuestSpec:
    """Return what the guest kernel has to know of its guest's plan."""
    return GuestSpec(
        plan.name,
        plan.storage_bytes,
        plan.dcssblk,
        tuple((mount.device, mount.at, mount.kernel_options, _device_of(mount)) for mount in plan.mounts),
        tuple(_step_of(step) for step in plan.run),
        tuple((disk.name, disk.writable) for disk in plan.disks),
        plan.settings.boot if isinstance(plan.settings, ProcessSettings | S390xSettings) else FULL,
        plan.timings,
        tuple(_options_of(plan.run)),
        plan.settings.time_limit_seconds if isinstance(plan.settings, S390xSettings) else None,
        plan.namesave,
    )


def _options_of(steps: Sequence[Step]) -> Iterator[ProgramOptions]:
    """Yield the options of the steps that have any."""
    for number, step in enumerate(steps):
        environment = tuple(f"{name}={value}" for name, value in step.environment)
        options = ProgramOptions(number, step.background, environment, step.strace)
        if options != ProgramOptions(number):
            yield options


def _device_of(mount: MountPlan) -> str:
    """Return the kind of device that the guest makes for a mount, or that it needs none; nothing for a disk itself."""
    if mount.type == "tmpfs":
        return TMPFS_MODE
    return mount.mode if mount.mode in {"ramdisk", "mtd"} else ""


def _step_of(step: Step) -> tuple[str, ...]:
    words = (step.argument,) if isinstance(step.argument, str) else step.argument
    return (step.verb, *words)
