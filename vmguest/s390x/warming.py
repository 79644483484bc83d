"""Programs run for nothing, in a guest that will be cloned: what is translated then, its clones share."""

from dcss.errors import KernelError
from vmguest.fs.namei import existing
from vmguest.fs.open import O_RDWR, open_file
from vmguest.kernel import Kernel
from vmguest.s390x.programs import Command, Programs

_SHELLS = (b"/bin/sh", b"/bin/bash")
_SCRIPT = b"x=$(echo a | { read y; echo $y; }); for i in 1 2; do ( : ); done; case $x in a) :; esac"
_RUNS = 3
_SECONDS = 5.0


def warm(kernel: Kernel, programs: Programs) -> None:
    """Have shells run a script of their own commands: most programs begin as they do, and many are run by them.

    Nothing of the guest's changes by that. Without a shell, nothing is done. Raises KernelError where one cannot be
    started.
    """
    for shell in [shell for shell in _SHELLS if existing(kernel.vfs, shell) is not None] * _RUNS:
        files = [open_file(kernel.vfs, b"/dev/null", O_RDWR) for _ in range(3)]
        try:
            process = programs.start(Command((shell, b"-c", _SCRIPT), time_limit_seconds=_SECONDS), files)
        except KernelError:
            for file in files:
                file.close()
            raise
        programs.run(lambda process=process: process.exit_status is not None)  # type: ignore[misc]
