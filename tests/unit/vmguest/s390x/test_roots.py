"""Another root, beside what tests/conformance/root_calls.c compares: /proc, new programs, and the directory's end."""

from errno import EBADF, EBUSY, ENOTDIR, EPERM

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.fs.namei import mkdir, rmdir
from vmguest.fs.open import O_DIRECTORY


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    mkdir(guest.kernel.vfs, b"/tmp/root")
    return Caller(guest)


def test_proc_leads_to_a_processs_own_root(caller: Caller, guest: Guest390) -> None:
    vfs, pid = guest.kernel.vfs, caller.process.pid
    assert vfs.resolve(b"/proc/%d/root" % pid).path == b"/"
    assert caller.call("chroot", b"/tmp/root\0") == 0
    vfs.task_root = None
    assert vfs.resolve(b"/proc/%d/root" % pid).path == b"/tmp/root"


def test_the_guests_root_may_be_taken_as_the_root(caller: Caller, guest: Guest390) -> None:
    assert caller.call("chroot", b"/\0") == 0
    assert caller.call("chroot", b"/tmp/..\0") == 0
    assert caller.process.directory.root is None
    assert caller.call("chroot", b"/bin/hello\0") == -ENOTDIR
    assert caller.call("setresuid", 7, 7, 7) == 0
    assert caller.call("chroot", b"/\0") == -EPERM
    assert guest.kernel.vfs.task_root is None


def test_programs_that_the_host_starts_have_the_guests_root(caller: Caller, guest: Guest390) -> None:
    assert caller.call("setresuid", 0, 7, 0) == 0
    assert caller.call("setresuid", 0, 0, 0) == 0
    assert caller.call("chroot", b"/tmp/root\0") == 0
    assert caller.call("setresuid", 7, 7, 7) == 0
    assert guest.run(b"/bin/hello").output == b"hello\n"


def test_a_root_keeps_its_file_system_mounted_until_the_process_ends(caller: Caller, guest: Guest390) -> None:
    kernel = guest.kernel
    kernel.mount("", "/tmp/root", (), "tmpfs")
    assert caller.call("chroot", b"/tmp/root\0") == 0
    kernel.vfs.task_root = None
    assert caller.call("umount2", b"/tmp/root\0", 0) == -EBUSY
    guest.programs.end(caller.process)
    kernel.vfs.umount(b"/tmp/root")
    rmdir(kernel.vfs, b"/tmp/root")


def test_a_signal_is_sent_by_a_processs_directory_in_proc(caller: Caller, guest: Guest390) -> None:
    other = Caller(guest).process
    number = caller.open(b"/proc/%d" % other.pid, O_DIRECTORY)
    assert caller.call("pidfd_send_signal", number, 9, 0, 0) == 0
    guest.programs.run(lambda: other.ended is not None)
    assert other.ended_by == 9
    number = caller.open(b"/proc/%d/task" % caller.process.pid, O_DIRECTORY)
    assert caller.call("pidfd_send_signal", number, 9, 0, 0) == -EBADF
