"""This machine's kernel as the referee of writing ext2: the same steps on a loop mount and in a guest.

Where its ext4 driver serves ext2 and differs from fs/ext2, docs/facts.md says what holds.
"""

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
    "/dev/null/x",
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
            kernel.mount("dcssblk0", "/mnt", options)
            kernel.vfs.populate()
            found = run_in_guest(GuestSide(kernel, b"/mnt"), steps)
            differing = [
                (step, ours, theirs)
                for step, ours, theirs in zip(steps, found[0], wanted[0], strict=True)
                if ours != theirs
            ]
            assert not differing, f"step, guest's, kernel's: {differing}"
            assert found[1] == {path: [*row] for path, row in wanted[1].items()}
            assert found[2] == wanted[2]
            kernel.vfs.umount(b"/mnt")
            handle = kernel.dcssblk.devices[0].open()
            image.write_bytes(kernel.dcssblk.devices[0].direct_access(handle, 0, 8 << 20).view())
            checked = subprocess.run(
                [tool("e2fsck") or "e2fsck", "-fn", image], capture_output=True, text=True, check=False
            )
            assert checked.returncode == 0, checked.stdout


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate, Phase.shrink])
@given(st.lists(operations, min_size=1, max_size=50), st.sampled_from([("rw", "xip"), ("rw",)]))
def test_any_operations_leave_what_the_kernel_leaves(steps: list[Operation], options: tuple[str, ...]) -> None:
    both(steps, options)
