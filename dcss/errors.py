"""The exception tree. Every message says what, where, found, wanted, and what to do."""

from errno import ENODATA


class DcssError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(DcssError, ValueError):
    """The user's YAML or command line is wrong; `findings` holds one line each."""

    def __init__(self, *findings: str) -> None:
        super().__init__(*findings)
        self.findings = findings

    def __str__(self) -> str:
        return "\n".join(self.findings)


class ImageError(DcssError):
    """What should go into an image cannot, or does not fit."""


class ImageSizeError(ImageError):
    """An image does not fit into the size that it is given; `needed_bytes` would do."""

    def __init__(self, message: str, needed_bytes: int) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), self.needed_bytes)


class PublishError(DcssError, OSError):
    """A segment could not be put into shared memory; nothing of it is left there."""


class SpoolError(DcssError, OSError):
    """A saved segment could not be written to or read from the spool; what was there before is as it was."""


class SystemBusyError(DcssError):
    """Another CP already runs this system."""


class LaunchError(DcssError):
    """A guest or the fork server could not be started, or ended before it should."""


class StepError(DcssError):
    """A command of a guest's `run:` list ended with another status than 0."""


class GuestFailedError(LaunchError):
    """Guests of a system did not come up; `findings` holds one line for each."""

    def __init__(self, *findings: str) -> None:
        super().__init__(*findings)
        self.findings = findings

    def __str__(self) -> str:
        return "\n".join(self.findings)


class ExecError(DcssError):
    """A command in a guest ended with another status than 0."""

    def __init__(self, message: str, exit_status: int, stdout: str, stderr: str) -> None:
        super().__init__(message, exit_status, stdout, stderr)
        self.exit_status, self.stdout, self.stderr = exit_status, stdout, stderr

    def __str__(self) -> str:
        return str(self.args[0])


class NotVerifiedError(DcssError):
    """A verdict is not `verified`; `findings` holds a line for each claim that does not hold."""

    def __init__(self, *findings: str) -> None:
        super().__init__(*findings)
        self.findings = findings

    def __str__(self) -> str:
        return "\n".join(self.findings)


class RefutedError(NotVerifiedError):
    """A verdict is `refuted`."""


class UnprovedError(NotVerifiedError):
    """A verdict is `unproved`: what could be seen does not decide a claim."""


class MeasurementDeniedError(DcssError, PermissionError):
    """The kernel does not show its books to this user."""


class KernelError(DcssError, OSError):
    """A guest kernel's failure: an errno and the text of its log, as OSError has them."""


class Ext2FormatError(DcssError, ValueError):
    """An image is damaged or not ext2: the message names block, field, found and wanted."""


class HoleError(KernelError):
    """A file page without a block: ENODATA, as ext2's get_xip_mem returns it (fs/ext2/xip.c)."""

    def __init__(self) -> None:
        super().__init__(ENODATA, "no block is allocated for this page")


class StaleReferenceError(KernelError):
    """A reference into a device outlived the device's release or the segment's unload."""


class HypercallError(KernelError):
    """CP refused a hypercall; `condition_code` and `return_code` are what the instruction left."""

    def __init__(self, errno: int, message: str, condition_code: int, return_code: int) -> None:
        super().__init__(errno, message)
        self.condition_code = condition_code
        self.return_code = return_code

    def __reduce__(self) -> tuple[type, tuple[int | None, str | None, int, int]]:
        return type(self), (self.errno, self.strerror, self.condition_code, self.return_code)
