"""What a guest of this engine is given to boot from."""

from dcss.config.plan import GuestPlan, Step
from vmguest.spec import GuestSpec


def spec_of(plan: GuestPlan) -> GuestSpec:
    """Return what the guest kernel has to know of its guest's plan."""
    return GuestSpec(
        plan.name,
        plan.storage_bytes,
        plan.dcssblk,
        tuple((mount.device, mount.at, mount.options) for mount in plan.mounts),
        tuple(_step_of(step) for step in plan.run),
        tuple((disk.name, disk.writable) for disk in plan.disks),
    )


def _step_of(step: Step) -> tuple[str, ...]:
    words = (step.argument,) if isinstance(step.argument, str) else step.argument
    return (step.verb, *words)
