"""The fork server of engine `s390x`: has the guest kernel, the emulator and its system calls imported."""

import os
from contextlib import AbstractContextManager, suppress

from dcss.abi.console import Start
from dcss.account.maps import read_maps
from dcss.engines.forked import forkserver
from dcss.engines.forked.hot_code import gathered
from dcss.engines.forked.rehearsal import rehearse
from dcss.engines.process.forkserver import preload as preload_kernel
from dcss.host.landlock import NoFiles
from dcss.host.seccomp import CallFilter, forbid_new_privileges
from vmguest import hostmem
from vmguest.bootstrap import GuestHost, run_guest
from vmguest.cloning import CloneMaker
from vmguest.s390x.cpu import CpuError
from vmguest.s390x.level import ProgramLevel
from vmguest.s390x.self_test import stops_are_exact
from vmguest.spec import GuestSpec


def preload() -> None:
    """Import what guests import late, so that they share these modules: in isolation none can be loaded."""
    import vmguest.fs.ext2_files
    import vmguest.fs.ext2_writer  # noqa: F401

    preload_kernel()
    with suppress(CpuError):  # each guest says so in its log
        stops_are_exact()  # once for all guests


class _Host:
    """What is done to a guest's process; see vmguest.s390x.level.ProgramHost."""

    def __init__(self) -> None:
        self._files, self._calls = NoFiles(), CallFilter()

    def cpu_made(self) -> None:
        """Have translated code lie in small pages: most of a huge one would be empty in each guest."""
        for vma in read_maps(os.getpid()):
            if vma.permissions == "rwxp" and not vma.inode:
                hostmem.refuse_huge_pages(vma.start, vma.end - vma.start)

    def gathered(self) -> AbstractContextManager[None]:
        """Have the code that is called meanwhile lie together."""
        return gathered()

    def isolate(self) -> tuple[str, ...]:
        """Leave this process nothing of the host but what it has open; return what is in force."""
        forbid_new_privileges()
        return self._files.apply(), self._calls.apply()


_host = _Host()


def run(spec: GuestSpec, host: GuestHost, *, start: Start | None, clones: CloneMaker | None) -> int:
    """Run a guest whose user level is programs; see vmguest.bootstrap.run_guest."""
    return run_guest(spec, host, start=start, clones=clones, level=ProgramLevel(spec, _host))


def main() -> None:
    """Entry of the exec'd server."""
    forkserver.main(forkserver.GuestKind(preload, rehearse, run, overwrites_freed_memory=True))
