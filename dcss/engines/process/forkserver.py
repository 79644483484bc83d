"""The fork server of engine `process`: has the guest kernel and its shell imported."""

from dcss.engines.forked import forkserver
from dcss.engines.forked.rehearsal import rehearse
from vmguest.bootstrap import run_guest


def preload() -> None:
    """Import what guests import late, so that they share these modules and no guest loads one of its own."""
    import vmguest.block.dcssblk_sysfs
    import vmguest.block.file
    import vmguest.block.genhd_sysfs
    import vmguest.block.modes
    import vmguest.fs.devfs
    import vmguest.fs.procfs
    import vmguest.fs.sysfs
    import vmguest.fs.tmpfs
    import vmguest.init
    import vmguest.module
    import vmguest.shell.rehearsal
    import vmguest.shell.serve  # noqa: F401


def main() -> None:
    """Entry of the exec'd server."""
    forkserver.main(forkserver.GuestKind(preload, rehearse, run_guest))
