"""A program run once for nothing, in a guest that will be cloned: what is translated then, its clones share."""

from dcss.errors import KernelError
from vmguest.fs.namei import existing
from vmguest.fs.open import O_RDWR, open_file
from vmguest.kernel import Kernel
from vmguest.s390x.programs import Command, Programs

_SHELL = b"/bin/sh"
_RUNS = 3
_SECONDS = 5.0


def warm(kernel: Kernel, programs: Programs) -> None:
    """Have the shell do nothing: most programs begin as it does, with the loader and the C library.

    Nothing of the guest's changes by that. Without a shell, nothing is done. Raises KernelError where it cannot be
    started.
    """
    if existing(kernel.vfs, _SHELL) is None:
        return
    for _ in range(_RUNS):
        files = [open_file(kernel.vfs, b"/dev/null", O_RDWR) for _ in range(3)]
        try:
            process = programs.start(Command((_SHELL, b"-c", b":"), time_limit_seconds=_SECONDS), files)
        except KernelError:
            for file in files:
                file.close()
            raise
        programs.run(lambda process=process: process.exit_status is not None)  # type: ignore[misc]
