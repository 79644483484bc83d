"""cp and mv in a guest: trees, links and nodes, and what is refused."""

import pytest
from shell_support import out, sh

from vmguest.fs import attr
from vmguest.kernel import Kernel

TREE = (
    "mkdir -p /tmp/d/inner; echo one > /tmp/d/file; echo two > /tmp/d/inner/deep; ln -s file /tmp/d/link;"
    " ln -s none /tmp/d/dangling; mknod /tmp/d/pipe p; chmod 750 /tmp/d/inner; chmod 604 /tmp/d/file"
)


@pytest.fixture
def tree(bare: Kernel) -> Kernel:
    """A guest with files, links and a FIFO in /tmp/d."""
    out(bare, TREE)
    return bare


def kinds(kernel: Kernel, path: str) -> list[str]:
    """Return type, mode and name of everything below a path."""
    lines = sorted(out(kernel, f"find {path}").decode().split())
    return [out(kernel, f"stat -c '%A' {line}").decode().strip() + line.removeprefix(path) for line in lines]


@pytest.mark.parametrize("option", ["-r", "-R", "-a"])
def test_a_tree_is_copied_with_its_links_and_nodes_as_what_they_are(tree: Kernel, option: str) -> None:
    out(tree, f"cp {option} /tmp/d /tmp/copy")
    assert kinds(tree, "/tmp/copy") == kinds(tree, "/tmp/d")
    assert out(tree, "cat /tmp/copy/file /tmp/copy/inner/deep; readlink /tmp/copy/link") == b"one\ntwo\nfile\n"
    out(tree, f"mkdir /tmp/into; cp {option} /tmp/d /tmp/copy/file /tmp/into")
    assert out(tree, "ls /tmp/into; cat /tmp/into/d/inner/deep") == b"d\nfile\ntwo\n"


def test_a_link_alone_is_followed_but_with_r(tree: Kernel) -> None:
    out(tree, "cp /tmp/d/link /tmp/followed; cp -r /tmp/d/link /tmp/kept")
    assert out(tree, "stat -c %F /tmp/followed /tmp/kept") == b"regular file\nsymbolic link\n"
    assert out(tree, "cat /tmp/followed") == b"one\n"


def test_owners_modes_and_times_are_kept_with_p(tree: Kernel) -> None:
    out(tree, "chown 7:8 /tmp/d/file")
    attr.utimens(tree.vfs, tree.vfs.resolve(b"/tmp/d/file"), 1, 1_000_000_000)
    out(tree, "cp -p /tmp/d/file /tmp/p; cp /tmp/d/file /tmp/n")
    assert out(tree, "stat -c '%u %g %a %Y' /tmp/p") == b"7 8 604 1000000000\n"
    owner, group, mode, mtime = out(tree, "stat -c '%u %g %a %Y' /tmp/n").split()
    assert (owner, group, mode) == (b"0", b"0", b"604")
    assert int(mtime) > 1_000_000_000


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("cp /tmp/d /tmp/copy", "cp: -r not specified; omitting directory '/tmp/d'"),
        ("cp -r /tmp/d /tmp/d/inner", "cp: cannot copy a directory, '/tmp/d', into itself, '/tmp/d/inner/d'"),
        ("cp /tmp/d/file /tmp/d/link", "cp: '/tmp/d/file' and '/tmp/d/link' are the same file"),
        ("cp /tmp/d/file /tmp/d/file", "cp: '/tmp/d/file' and '/tmp/d/file' are the same file"),
        ("cp -r /tmp/d/inner /tmp/d/file", "cp: cannot copy '/tmp/d/inner' to '/tmp/d/file': File exists"),
        ("cp /tmp/d/file /tmp/d/pipe /tmp/no", "cp: Not a directory"),
        ("cp /tmp/none /tmp/x", "cp: cannot stat '/tmp/none': No such file or directory"),
    ],
)
def test_what_is_refused_leaves_all_as_it_was(tree: Kernel, command: str, error: str) -> None:
    before = kinds(tree, "/tmp")
    ran = sh(tree, command)
    assert (ran.status, ran.err) == (1, f"{error}\n")
    assert kinds(tree, "/tmp") == before
    assert out(tree, "cat /tmp/d/file") == b"one\n"
