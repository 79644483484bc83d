"""A Linux kernel to boot: its image, its modules, and the busybox for its initramfs."""

from dataclasses import dataclass
from pathlib import Path

from dcss.kernels.modules import Modules


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A kernel that is there; `label` is what messages call it."""

    label: str
    image: Path
    modules: Modules
    busybox: Path
