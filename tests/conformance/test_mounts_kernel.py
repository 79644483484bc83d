"""This machine's kernel as the reference for names and mounts: any sequence of operations leaves the same behind."""

from cp_support import control_program
from guest_support import guest_kernel
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from needs_support import needs
from tree_operations_support import NAMES, GuestTree, Operation, run, run_on_host

pytestmark = needs("mounts")

names = st.sampled_from(NAMES)
absolute = st.lists(names, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
relative = st.lists(st.sampled_from((*NAMES, "..", ".")), min_size=1, max_size=4).map("/".join)
paths = absolute | relative | absolute.map(lambda path: path + "/") | absolute.map(lambda path: path + "/..")


def operation(name: str, *words: "st.SearchStrategy[str]") -> "st.SearchStrategy[Operation]":
    return st.tuples(st.just(name), *words)


remounts = st.sampled_from(["remount,ro", "remount,rw", "remount,bind,ro", "remount,bind,rw"])
operations = st.one_of(
    operation("mkdir", paths),
    operation("mkdir", absolute),
    operation("rmdir", paths),
    operation("create", paths),
    operation("unlink", paths),
    operation("symlink", st.sampled_from(["a", "b/c", "../a", "/b", "/b/c/", "nosuch", ".."]), paths),
    operation("tmpfs", absolute),
    operation("bind", paths, absolute),
    operation("umount", absolute),
    operation("remount", absolute, remounts),
    operation("chdir", paths),
    operation("hold", paths),
    operation("drop"),
)
looks = [
    *((name, path) for name in ("list", "kind") for path in ("/", *(f"/{a}" for a in NAMES), *("/a/b", "/b/a", "."))),
    ("where",),
]
BEGIN: list[Operation] = [("mkdir", "/a"), ("mkdir", "/a/b"), ("mkdir", "/b"), ("create", "/c")]


@settings(phases=[Phase.explicit, Phase.generate])
@given(steps=st.lists(operations, min_size=4, max_size=16))
@example(
    [("tmpfs", "/a"), ("mkdir", "/a/c"), ("bind", "/a/c", "/b"), ("chdir", "/b"), ("umount", "/b"), ("mkdir", "x")]
)
@example(
    [("tmpfs", "/a"), ("tmpfs", "/a"), ("umount", "/a"), ("mkdir", "/a/b"), ("bind", "/a", "/a/b"), ("umount", "/a")]
)
@example([("chdir", "/a/b"), ("tmpfs", "/a"), ("chdir", ".."), ("where",), ("create", "c"), ("umount", "/a")])
@example([("create", "/a/c"), ("bind", "/a/c", "/c"), ("unlink", "/c"), ("unlink", "/a/c"), ("umount", "/c")])
@example(
    [("tmpfs", "/a"), ("hold", "/a/a"), ("remount", "/a", "remount,ro"), ("drop",), ("remount", "/a", "remount,ro")]
)
@example([("bind", "/a", "/b"), ("remount", "/b", "remount,bind,ro"), ("mkdir", "/b/c"), ("mkdir", "/a/c")])
@example([("chdir", "/a/b"), ("rmdir", "/a/b"), ("mkdir", "a"), ("list", "."), ("chdir", ".."), ("where",)])
@example([("chdir", "/a/b"), ("rmdir", "/a/b"), ("bind", ".", "/b"), ("tmpfs", "."), ("chdir", "/"), ("umount", "/b")])
@example([("chdir", "/a"), ("tmpfs", "."), ("bind", "..", "."), ("umount", "."), ("umount", "."), ("umount", ".")])
@example([("chdir", "/a"), ("tmpfs", "."), ("tmpfs", "."), ("mkdir", "/a/c"), ("umount", "."), ("list", "/a")])
def test_names_and_mounts_are_the_kernels(steps: list[Operation]) -> None:
    script = [*BEGIN, *steps, *looks]
    with control_program() as cp, guest_kernel(cp) as kernel:
        ours = run(GuestTree(kernel), script)
    theirs = run_on_host(script)
    assert list(zip(script, ours, strict=True)) == list(zip(script, theirs, strict=True))


def test_it_is_another_kernel() -> None:
    assert run_on_host([("mkdir", "/a"), ("tmpfs", "/a"), ("create", "/a/b"), ("list", "/a"), ("rmdir", "/a")]) == [
        "ok", "ok", "ok", "b", "EBUSY",
    ]  # fmt: skip
