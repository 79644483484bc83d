"""Who may do what with an inode: the kernel's rules, one table each."""

import stat
from collections.abc import Callable, Iterator
from errno import EACCES, EPERM
from functools import partial
from itertools import product

import pytest
from cp_support import BlockingCp
from guest_support import guest_kernel
from shell_support import out

from dcss.errors import KernelError
from vmguest.credentials import MAY_EXEC, MAY_READ, MAY_WRITE, ROOT, Credentials
from vmguest.fs.libfs import SimpleFileSystem, SimpleInode
from vmguest.fs.mount import Dentry, Mount
from vmguest.fs.permission import check, check_link_source, check_owner, check_removal, may
from vmguest.kernel import Kernel

OWNER, GROUP, OTHER = Credentials(1000, 50), Credentials(2000, 100), Credentials(3000, 50)
MASKS = range(8)


@pytest.fixture
def kernel(control_program: BlockingCp) -> Iterator[Kernel]:
    with guest_kernel(control_program) as kernel:
        yield kernel


def place(kernel: Kernel, mode: str, *, directory: bool = False) -> Dentry:
    """Make something of user 1000 and group 100."""
    make = "mkdir /tmp/x" if directory else "echo > /tmp/x"
    out(kernel, f"{make}; chown 1000:100 /tmp/x; chmod {mode} /tmp/x")
    return kernel.vfs.resolve(b"/tmp/x")


def at(inode: SimpleInode) -> Dentry:
    """Return a place that has an inode, on a file system without access control lists."""
    return Dentry(Mount(SimpleFileSystem(), 1, (1, b""), "none"), inode)  # type: ignore[arg-type]


def errno_of(call: Callable[[], object]) -> int:
    try:
        call()
    except KernelError as error:
        assert error.errno is not None
        return error.errno
    return 0


@pytest.mark.parametrize(("user", "shift"), [(OWNER, 6), (GROUP, 3), (OTHER, 0)])
def test_each_class_of_users_has_its_own_bits_and_no_others(user: Credentials, shift: int) -> None:
    for bits, others, mask in product(range(8), (0, 0o777), MASKS):
        mode = others & ~(0o7 << shift) | bits << shift
        inode = SimpleInode(1, stat.S_IFREG | mode, uid=1000, gid=100)
        assert may(at(inode), user, mask) is (mask & bits == mask)


def test_root_may_all_but_execute_what_nobody_may() -> None:
    for mode, mask in product((0, 0o666, 0o100, 0o010, 0o001, 0o777), MASKS):
        wanted = not mask & MAY_EXEC or bool(mode & 0o111)
        assert may(at(SimpleInode(1, stat.S_IFREG | mode)), ROOT, mask) is wanted
        assert may(at(SimpleInode(1, stat.S_IFDIR | mode)), ROOT, mask) is True


def test_a_refusal_names_what_was_wanted_and_found(kernel: Kernel) -> None:
    dentry = place(kernel, "640")
    check(dentry, GROUP, MAY_READ)
    with pytest.raises(KernelError, match="/tmp/x: user 2000 may not write and execute: -rw-r----- 1000:100") as caught:
        check(dentry, GROUP, MAY_WRITE | MAY_EXEC)
    assert caught.value.errno == EACCES


@pytest.mark.parametrize(
    ("mode", "owner", "group", "other"),
    [("777", 0, 0, 0), ("1777", 0, EPERM, EPERM), ("755", 0, EACCES, EACCES), ("766", 0, EACCES, EACCES)],
)
def test_who_may_remove_names_from_a_directory(kernel: Kernel, mode: str, owner: int, group: int, other: int) -> None:
    directory = place(kernel, mode, directory=True)
    out(kernel, "echo > /tmp/x/roots; echo > /tmp/x/groups; chown 2000:0 /tmp/x/groups")
    inode = kernel.vfs.resolve(b"/tmp/x/roots").inode
    found = [errno_of(partial(check_removal, directory, inode, user)) for user in (ROOT, OWNER, GROUP, OTHER)]
    assert found == [0, owner, group, other]
    own = kernel.vfs.resolve(b"/tmp/x/groups").inode
    assert errno_of(lambda: check_removal(directory, own, GROUP)) == (0 if mode == "1777" else group)


@pytest.mark.parametrize(
    ("mode", "allowed"),
    [("666", True), ("644", False), ("662", False), ("4666", False), ("2666", True), ("2676", False), ("676", True)],
)
def test_who_may_give_a_file_one_more_name(kernel: Kernel, mode: str, allowed: bool) -> None:
    dentry = place(kernel, mode)
    for user in (ROOT, OWNER):
        check_link_source(dentry, user)
    assert errno_of(lambda: check_link_source(dentry, OTHER)) == (0 if allowed else EPERM)


def test_no_directory_or_node_gets_one_more_name_from_others(kernel: Kernel) -> None:
    assert errno_of(lambda: check_link_source(kernel.vfs.resolve(b"/dev/null"), OTHER)) == EPERM


def test_what_only_an_owner_may_do(kernel: Kernel) -> None:
    dentry = place(kernel, "777")
    found = [errno_of(partial(check_owner, dentry, user)) for user in (ROOT, OWNER, GROUP, OTHER)]
    assert found == [0, 0, EPERM, EPERM]
