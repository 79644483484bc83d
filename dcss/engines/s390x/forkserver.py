"""The fork server of engine `s390x`: has the guest kernel, the emulator and its system calls imported."""

from dcss.abi.console import Start
from dcss.engines.forked import forkserver
from dcss.engines.forked.rehearsal import rehearse
from dcss.engines.process.forkserver import preload as preload_kernel
from dcss.host.landlock import forbid_files
from dcss.host.seccomp import forbid_new_privileges, restrict_to_open_files
from vmguest.bootstrap import GuestHost, run_guest
from vmguest.cloning import CloneMaker
from vmguest.s390x.level import ProgramLevel
from vmguest.spec import GuestSpec


def preload() -> None:
    """Import what guests import late, so that they share these modules and no guest loads one of its own."""
    preload_kernel()


def run(spec: GuestSpec, host: GuestHost, *, start: Start | None, clones: CloneMaker | None) -> int:
    """Run a guest whose user level is programs; see vmguest.bootstrap.run_guest."""
    return run_guest(spec, host, start=start, clones=clones, level=ProgramLevel(spec, isolate))


def isolate() -> tuple[str, ...]:
    """Leave this process nothing of the host but what it has open; return what is in force."""
    forbid_new_privileges()
    return forbid_files(), restrict_to_open_files()


def main() -> None:
    """Entry of the exec'd server."""
    forkserver.main(forkserver.GuestKind(preload, rehearse, run, overwrites_freed_memory=True))
