"""The end of a machine, as whoever speaks with its QEMU finds it."""


class MachineEndedError(Exception):
    """QEMU has ended, or is about to."""
