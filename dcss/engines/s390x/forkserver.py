"""The fork server of engine `s390x`: has the guest kernel, the emulator and its system calls imported."""

from dcss.abi.console import Start
from dcss.engines.forked import forkserver
from dcss.engines.forked.rehearsal import rehearse
from dcss.engines.process.forkserver import preload as preload_kernel
from dcss.host.landlock import NoFiles
from dcss.host.seccomp import CallFilter, forbid_new_privileges
from vmguest.bootstrap import GuestHost, run_guest
from vmguest.cloning import CloneMaker
from vmguest.s390x.level import ProgramLevel
from vmguest.spec import GuestSpec


def preload() -> None:
    """Import what guests import late, so that they share these modules and no guest loads one of its own."""
    preload_kernel()


class _Isolation:
    """Leaves a guest's process nothing of the host but what it has open."""

    def __init__(self) -> None:
        self._files, self._calls = NoFiles(), CallFilter()

    def apply(self) -> tuple[str, ...]:
        """Apply it to this process; return what is in force."""
        forbid_new_privileges()
        return self._files.apply(), self._calls.apply()


_isolation = _Isolation()


def run(spec: GuestSpec, host: GuestHost, *, start: Start | None, clones: CloneMaker | None) -> int:
    """Run a guest whose user level is programs; see vmguest.bootstrap.run_guest."""
    return run_guest(spec, host, start=start, clones=clones, level=ProgramLevel(spec, _isolation.apply))


def main() -> None:
    """Entry of the exec'd server."""
    forkserver.main(forkserver.GuestKind(preload, rehearse, run, overwrites_freed_memory=True))
