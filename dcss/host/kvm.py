"""Whether this user may have KVM; whether that runs a kernel is another question."""

import os
from typing import Final

DEVICE: Final = "/dev/kvm"


def no_kvm_because() -> str | None:
    """Return why /dev/kvm cannot be opened, or None where it can."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{DEVICE} cannot be opened: {error.strerror}"
    return None
