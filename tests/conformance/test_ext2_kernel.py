"""This machine's kernel as the referee of writing ext2: the same steps on a loop mount and in a guest.

Where its ext4 driver serves ext2 and differs from fs/ext2, docs/facts.md says what holds.
"""

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cp_support import control_program
from ext2_support import e2fs
from ext2_tree_support import (
    OTHER,
    ROOT_USER,
    USER,
    GuestSide,
    Operation,
    hardlinks_protected,
    run_in_guest,
    run_on_host,
)
from guest_support import definition, fill_with, guest_kernel
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from needs_support import needs, tool

pytestmark = needs("mke2fs", "e2fsck", "loop")

NAMES = [
    "a",
    "b",
    "c",
    "dir",
    "dir/a",
    "dir/b",
    "dir/sub",
    "dir/sub/x",
    "link",
    "link/a",
    "other",
    "n" * 255,
    "n" * 256,
]
EXTRA = [
    "a/",
    "dir/",
    ".",
    "..",
    "dir/.",
    "dir/..",
    "dir/../b",
    "./a",
    "nosuch/x",
    "dir//a",
    "a/x",
    "dir/sub/../a",
]
paths = st.one_of(*[st.sampled_from(NAMES)] * 5, st.sampled_from(EXTRA))
users = st.sampled_from([ROOT_USER, ROOT_USER, ROOT_USER, USER, OTHER])
modes = st.sampled_from([0o644, 0o600, 0o755, 0o777, 0o1777, 0o4755, 0o2755, 0o6711, 0o000, 0o2644])
sizes = st.sampled_from([0, 1, 4095, 4096, 4097, 12 * 4096, 50_000, 5_000_000])
owners = st.sampled_from([-1, 0, 1000, 1001, 70_000])
groups = st.sampled_from([-1, 0, 100, 101])
attributes = st.sampled_from(["user.a", "user.b", "trusted.t", "nothing.known"])


linkers = users if hardlinks_protected() else st.just(ROOT_USER)


def op(name: str, *words: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.tuples(st.just(name), users, *words)


operations = st.one_of(
    op("create", paths, modes),
    op("create", paths, modes),
    op("open", paths, st.sampled_from(["r", "w", "rw,creat", "w,creat,excl", "w,trunc", "rw,creat,trunc"])),
    op("mkdir", paths, modes),
    op("mkdir", paths, modes),
    op("symlink", st.sampled_from(["a", "dir", "../dir/a", "nosuch", "link", "t" * 60, "t" * 1000, ""]), paths),
    op("mkfifo", paths, modes),
    op("mknod", paths, st.sampled_from([1, 8, 252]), st.sampled_from([3, 300])),
    st.tuples(st.just("link"), linkers, paths, paths),
    op("unlink", paths),
    op("rmdir", paths),
    op("rename", paths, paths),
    op("rename", paths, paths),
    op("rename", paths, paths),
    op("chmod", paths, modes),
    op("chown", paths, owners, groups),
    op("lchown", paths, owners, groups),
    op("truncate", paths, sizes),
    op("write", paths, sizes, st.sampled_from(["x", "text"]), st.sampled_from([0, 1, 1500, 9000])),
    op("append", paths, st.sampled_from(["end", "more"])),
    op("utime", paths, st.sampled_from([0, 1, 86_400, 2**31 - 1]), st.sampled_from([0, 5, 2**31 - 1])),
    op(
        "setxattr", paths, attributes, st.sampled_from(["", "value", "v" * 300, "v" * 5000]), st.sampled_from([0, 1, 2])
    ),
    op("removexattr", paths, attributes),
    op("read", paths),
    op("sync"),
)


@cache
def empty_image() -> bytes:
    with TemporaryDirectory() as directory:
        image = Path(directory, "image")
        e2fs(
            "mke2fs", "-q", "-F", "-t", "ext2", "-b", "4096", "-I", "128", "-O", "^resize_inode,^dir_index", image, "8M"
        )
        return image.read_bytes()


def both(steps: list[Operation], options: tuple[str, ...] = ("rw", "xip")) -> None:
    """Do steps on both sides, and compare what each left, the trees, and what is free."""
    with TemporaryDirectory() as directory, control_program() as cp:
        image = Path(directory, "image")
        image.write_bytes(empty_image())
        wanted = run_on_host(image, steps)
        cp.publish(definition("RW", "30000-307FF SW"), fill_with(empty_image()))
        with guest_kernel(cp) as kernel:
            kernel.dcssblk.load_module("RW")
            kernel.mount("dcssblk0", "/", options)  # with nothing above it, as on the other side
            found = run_in_guest(GuestSide(kernel, b"/"), steps)
            differing = [
                (step, ours, theirs)
                for step, ours, theirs in zip(steps, found[0], wanted[0], strict=True)
                if ours != theirs
            ]
            assert not differing, f"step, guest's, kernel's: {differing}"
            assert found[1] == {path: [*row] for path, row in wanted[1].items()}
            assert found[2] == wanted[2]
            kernel.vfs.umount(b"/")
            handle = kernel.dcssblk.devices[0].open()
            image.write_bytes(kernel.dcssblk.devices[0].direct_access(handle, 0, 8 << 20).view())
            stored_tree = run_on_host(image, [])[1]
            assert stored_tree == wanted[1]  # what is in the segment is what the guest saw
            checked = subprocess.run(
                [tool("e2fsck") or "e2fsck", "-fn", image], capture_output=True, text=True, check=False
            )
            assert checked.returncode == 0, checked.stdout


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate, Phase.shrink])
@given(st.lists(operations, min_size=1, max_size=50), st.sampled_from([("rw", "xip"), ("rw",)]))
def test_any_operations_leave_what_the_kernel_leaves(steps: list[Operation], options: tuple[str, ...]) -> None:
    both(steps, options)


CORNERS: dict[str, list[Operation]] = {
    "rename over what is there": [
        ("mkdir", 0, "d", 0o755), ("mkdir", 0, "e", 0o755), ("create", 0, "d/f", 0o644), ("create", 0, "g", 0o600),
        ("rename", 0, "g", "d/f"), ("rename", 0, "d/f", "e"), ("rename", 0, "e", "d/f"), ("rename", 0, "e", "d"),
        ("rename", 0, "d", "e"), ("rename", 0, "e/f", "e/f"), ("link", 0, "e/f", "h"), ("rename", 0, "h", "e/f"),
        ("rename", 0, "nosuch", "x"), ("rename", 0, "e", "nosuch/x"), ("rename", 0, "h/", "i"),
        ("rename", 0, "h", "i/"), ("rename", 0, "e/", "j/"), ("rename", 0, "j/.", "k"), ("rename", 0, "j/..", "k"),
        ("rename", 0, ".", "k"),
    ],
    "rename into itself": [
        ("create", 0, "file", 0o644), ("rename", 0, "file/", "n" * 256),
        ("mkdir", 0, "d", 0o755), ("mkdir", 0, "d/e", 0o755), ("rename", 0, "d", "d/e/f"), ("rename", 0, "d", "d/f"),
        ("rename", 0, "d/e", "d"), ("rename", 0, "d/e", "d/e"), ("rename", 0, "d", "d/"), ("rename", 0, "d/e", "f"),
        ("rename", 0, "d", "f/g"), ("stat_link", 0, "f/g/.."), ("rmdir", 0, "f/g"), ("rmdir", 0, "f"),
    ],
    "names of 255 bytes": [
        ("create", 0, "n" * 255, 0o644), ("create", 0, "n" * 256, 0o644), ("mkdir", 0, "m" * 255, 0o755),
        ("create", 0, "m" * 255 + "/" + "o" * 255, 0o644), ("rename", 0, "n" * 255, "p" * 256),
        ("unlink", 0, "q" * 256), ("symlink", 0, "t" * 4095, "s"), ("symlink", 0, "t" * 4096, "s"),
        ("symlink", 0, "t" * 59, "s59"), ("symlink", 0, "t" * 60, "s60"), ("read", 0, "a/" * 2047 + "x"),
        ("read", 0, "a/" * 2048 + "x"),
    ],
    "sticky directories": [
        ("mkdir", 0, "t", 0o777), ("chmod", 0, "t", 0o1777), ("create", 1000, "t/mine", 0o666),
        ("unlink", 1001, "t/mine"), ("rename", 1001, "t/mine", "t/his"), ("create", 1001, "t/his", 0o666),
        ("rename", 1001, "t/his", "t/mine"), ("rename", 1000, "t/mine", "t/new"),
        ("mkdir", 1000, "t/d", 0o700), ("rmdir", 1001, "t/d"), ("rmdir", 1000, "t/d"), ("unlink", 0, "t/his"),
        ("unlink", 1000, "t/new"),
    ],
    "permissions of others": [
        ("mkdir", 0, "d", 0o711), ("create", 0, "d/f", 0o604), ("chmod", 0, "d/f", 0o604), ("read", 1000, "d/f"),
        ("append", 1000, "d/f", "x"), ("chown", 0, "d/f", 1001, 100), ("read", 1000, "d/f"), ("read", 1001, "d/f"),
        ("append", 1001, "d/f", "own"), ("chmod", 1001, "d/f", 0o400), ("append", 1001, "d/f", "x"),
        ("truncate", 1001, "d/f", 0), ("append", 0, "d/f", "root"), ("create", 1000, "d/g", 0o644),
        ("chmod", 1000, "d", 0o777), ("chown", 1000, "d/f", 1000, -1), ("chown", 1001, "d/f", -1, 101),
        ("chown", 1001, "d/f", -1, 100), ("utime", 1000, "d/f", 5, 5), ("utime", 1001, "d/f", 5, 5),
        ("mkdir", 1000, "d/f/x", 0o755), ("append", 1000, "d", "x"), ("rename", 1001, "nosuch", "d/x"),
        ("chmod", 0, "d", 0o600), ("rename", 1001, "nosuch", "d/x"), ("chmod", 0, "d", 0o711),
        ("chmod", 0, "d", 0o600), ("read", 1001, "d/f"), ("mkfifo", 1000, "p", 0o644), ("mknod", 1000, "n", 8, 1),
        ("chmod", 0, ".", 0o777), ("mkfifo", 1000, "p", 0o644), ("mknod", 1000, "n", 8, 1),
    ],
    "set-id bits": [
        ("create", 0, "own", 0o755), ("chmod", 0, "own", 0o4755), ("chown", 1001, "own", -1, -1),
        ("create", 0, "f", 0o755), ("chmod", 0, "f", 0o6755), ("chown", 0, "f", 1000, 100), ("chmod", 0, "f", 0o6644),
        ("chown", 0, "f", 1001, 101), ("chmod", 0, "f", 0o6777), ("append", 1000, "f", "x"),
        ("chmod", 0, "f", 0o6777), ("truncate", 1000, "f", 1), ("chmod", 0, "f", 0o6777), ("append", 0, "f", "x"),
        ("chmod", 1001, "f", 0o2755), ("chown", 0, "f", 1001, 0), ("chmod", 1001, "f", 0o2755),
        ("mkdir", 0, "d", 0o777), ("chown", 0, "d", 0, 101), ("chmod", 0, "d", 0o2777),
        ("create", 1000, "d/g", 0o777), ("mkdir", 1000, "d/h", 0o777), ("create", 1000, "d/h/i", 0o2777),
        ("chown", 0, "d", 1000, 0),
    ],
    "unlink and links": [
        ("create", 0, "f", 0o644), ("link", 0, "f", "g"), ("link", 0, "f", "g"), ("mkdir", 0, "d", 0o755),
        ("link", 0, "d", "e"), ("link", 0, "nosuch", "h"), ("link", 0, "f", "d"), ("link", 0, "f", "d/f"),
        ("unlink", 0, "d"), ("unlink", 0, "d/"), ("unlink", 0, "f/"), ("rmdir", 0, "f"), ("rmdir", 0, "d"),
        ("unlink", 0, "d/f"), ("rmdir", 0, "d/."), ("rmdir", 0, "d/.."), ("rmdir", 0, "."), ("rmdir", 0, "d/"),
        ("symlink", 0, "f", "s"), ("link", 0, "s", "t"), ("unlink", 0, "s"), ("symlink", 0, "t2", "t2"),
        ("read", 0, "t2"), ("symlink", 0, "", "u"), ("unlink", 0, ""), ("mkdir", 0, "", 0o755),
        ("rename", 0, "", "v"),
    ],
    "sizes and holes": [
        ("create", 0, "f", 0o644), ("truncate", 0, "f", 1 << 20), ("write", 0, "f", 500_000, "x", 1),
        ("write", 0, "f", 12 * 4096 - 1, "ab", 1), ("truncate", 0, "f", 12 * 4096), ("truncate", 0, "f", 13 * 4096),
        ("write", 0, "f", 5_000_000, "end", 100), ("truncate", 0, "f", 4_300_000), ("truncate", 0, "f", 1),
        ("truncate", 0, "f", 5000), ("read", 0, "f"), ("mkdir", 0, "d", 0o755), ("truncate", 0, "d", 0),
        ("truncate", 0, "nosuch", 0), ("truncate", 0, "f", -1), ("truncate", 0, "f", 1 << 43),
        ("mkfifo", 0, "p", 0o644), ("truncate", 0, "p", 0), ("open", 0, "d", "w"), ("open", 0, "d", "r"),
        ("open", 0, "f", "r,trunc"),
    ],
    "times": [
        ("create", 0, "f", 0o644), ("utime", 0, "f", 1, 2), ("times", 0, "f"), ("utime", 0, "f", 2**31 - 1, 0),
        ("times", 0, "f"), ("utime", 0, "f", -1, -5), ("times", 0, "f"), ("symlink", 0, "f", "s"),
        ("utime", 0, "s", 7, 8), ("times", 0, "f"), ("utime", 0, "nosuch", 7, 8), ("mkdir", 0, "d", 0o755),
        ("utime", 0, "d", 3, 4), ("times", 0, "d"), ("link", 0, "f", "d/f"), ("times", 0, "f"),
    ],
    "attributes": [
        ("create", 0, "f", 0o644), ("setxattr", 0, "f", "user.a", "1", 1), ("setxattr", 0, "f", "user.a", "2", 1),
        ("setxattr", 0, "f", "user.b", "2", 2), ("setxattr", 0, "f", "user.a", "3", 2),
        ("removexattr", 0, "f", "user.c"), ("setxattr", 0, "f", "user.", "3", 0),
        ("setxattr", 0, "f", "nothing", "3", 0), ("setxattr", 0, "f", "", "3", 0),
        ("setxattr", 1000, "f", "user.a", "3", 0), ("setxattr", 1000, "f", "trusted.a", "3", 0),
        ("setxattr", 0, "f", "user." + "n" * 250, "3", 0), ("setxattr", 0, "f", "user." + "n" * 251, "3", 0),
        ("mkfifo", 0, "p", 0o666), ("setxattr", 0, "p", "user.a", "3", 0), ("setxattr", 0, "p", "trusted.a", "3", 0),
        ("mkdir", 0, "d", 0o1777), ("chmod", 0, "d", 0o1777), ("setxattr", 1000, "d", "user.a", "3", 0),
        ("create", 0, "g", 0o644), ("setxattr", 0, "g", "user.a", "3", 0), ("removexattr", 0, "g", "user.a"),
    ],
    "access control lists": [
        ("create", 0, "f", 0o640), ("setfacl", 0, "f", "access", "u::6 u:1000:4 g::4 m::6 o::0"), ("read", 1000, "f"),
        ("append", 1000, "f", "x"), ("read", 1001, "f"), ("setfacl", 0, "f", "access", "u::6 g::4 g:101:6 m::6 o::0"),
        ("append", 1001, "f", "x"), ("read", 1000, "f"), ("chmod", 0, "f", 0o600), ("append", 1001, "f", "x"),
        ("chmod", 0, "f", 0o660), ("append", 1001, "f", "x"), ("setfacl", 0, "f", "access", "u::6 g::4 o::4"),
        ("setfacl", 0, "f", "access", "u::6 u:1000:7 g::4 o::4"), ("setfacl", 0, "f", "access", "u::6 g::9 o::4"),
        ("setfacl", 0, "f", "access", "g::6 u::4 o::4"), ("setfacl", 0, "f", "access", "u::6 o::4"),
        ("setfacl", 1000, "f", "access", "u::6 g::4 o::4"), ("setfacl", 0, "f", "default", "u::7 g::5 o::5"),
        ("mkdir", 0, "d", 0o777), ("setfacl", 0, "d", "default", "u::7 u:1000:7 g::5 m::7 o::4"),
        ("create", 0, "d/a", 0o666), ("create", 0, "d/b", 0o700), ("mkdir", 0, "d/e", 0o755),
        ("mkfifo", 0, "d/p", 0o644), ("create", 0, "d/e/x", 0o666), ("symlink", 0, "a", "d/s"),
        ("append", 1000, "d/a", "x"), ("append", 1001, "d/a", "x"), ("create", 1000, "d/e/y", 0o666),
        ("create", 1001, "d/e/z", 0o666), ("setfacl", 0, "d", "default", "u::5 g::0 o::0"),
        ("create", 0, "d/c", 0o666), ("mkdir", 0, "d/g", 0o777), ("removexattr", 0, "d", "system.posix_acl_default"),
        ("create", 0, "d/h", 0o666), ("removexattr", 0, "d/a", "system.posix_acl_access"),
        ("link", 1000, "d/e/x", "d/e/l"), ("setfacl", 0, "d/e", "access", ""), ("utime", 1000, "d/e/x", 1, 1),
        ("setxattr", 1000, "d/e/x", "user.a", "1", 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("options", [("rw", "xip"), ("rw",)], ids="-".join)
@pytest.mark.parametrize("corner", CORNERS)
def test_corners_of_posix(corner: str, options: tuple[str, ...]) -> None:
    both(CORNERS[corner], options)
