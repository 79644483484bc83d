"""What becomes of packages: unpacked as dpkg does, with what maintainer scripts would leave."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from debian_support import MTIME_S, Content, Deb
from elf_support import S390X, shared_object
from loader_cache_support import decode_cache

from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree, TreeDirectory, TreeFile, TreeNode, TreeSymlink, walk
from dcss.image.sources.contents import content_of
from dcss.image.sources.debian.busybox import applet_names
from dcss.image.sources.debian.read import unpack
from dcss.image.sources.tree_paths import resolve

_APPLETS = ("[", "[[", "ash", "awk", "busybox", "cat", "ls", "sh", "vi", "wc")
_BUSYBOX = b"\x7fELF\0Usage\0\0" + b"".join(name.encode() + b"\0" for name in _APPLETS) + b"\0\0%s\0/bin/sh\0"


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Tree]:
    def tree(*packages: Deb, arch: str = "s390x", busybox_links: bool = True) -> Tree:
        return unpack([each.write(tmp_path) for each in packages], arch, busybox_links=busybox_links)

    return tree


def _node(tree: Tree, path: str) -> TreeNode:
    found = resolve(tree.root, path.encode())
    assert found is not None, f"nothing at {path}"
    return found.node


def _text(tree: Tree, path: str) -> bytes:
    node = _node(tree, path)
    assert isinstance(node, TreeFile)
    return content_of(node)


def _link(tree: Tree, path: str) -> str | None:
    parent, _, name = path.rpartition("/")
    directory = _node(tree, parent)
    assert isinstance(directory, TreeDirectory)
    node = directory.entries.get(name.encode())
    return node.target.decode() if isinstance(node, TreeSymlink) else None


@pytest.mark.parametrize("compression", ["xz", "gz", ""])
def test_usr_is_merged(make: Callable[..., Tree], compression: str) -> None:
    files: dict[str, Content] = {"/bin/a": b"A", "/usr/bin/b": b"B", "/lib/c": b"C", "/sbin/d": b"D"}
    tree = make(Deb("one", files, compression=compression))  # type: ignore[arg-type]
    assert [_link(tree, f"/{name}") for name in ("bin", "sbin", "lib")] == ["usr/bin", "usr/sbin", "usr/lib"]
    found = [_text(tree, path) for path in ("/usr/bin/a", "/bin/b", "/usr/lib/c", "/usr/sbin/d")]
    assert found == [b"A", b"B", b"C", b"D"]
    assert _node(tree, "/bin/a").attributes.mtime_s == MTIME_S


def test_amd64_has_lib64(make: Callable[..., Tree]) -> None:
    tree = make(Deb("one", {"/lib64/ld.so": b"L"}, arch="amd64"), arch="amd64")
    assert _link(tree, "/lib64") == "usr/lib64"
    assert _text(tree, "/usr/lib64/ld.so") == b"L"


def test_directories_of_a_running_system_have_their_modes(make: Callable[..., Tree]) -> None:
    tree = make(Deb("one", {"/tmp": 0o1777, "/srv/x": 0o700}), Deb("two", {"/srv/x": 0o755, "/var/run": 0o755}))
    modes = {path: stat.S_IMODE(_node(tree, path).attributes.mode) for path in ("/root", "/tmp", "/var/tmp", "/run")}
    assert modes == {"/root": 0o700, "/tmp": 0o1777, "/var/tmp": 0o1777, "/run": 0o755}
    assert stat.S_IMODE(_node(tree, "/srv/x").attributes.mode) == 0o700  # the first package's
    assert _link(tree, "/var/run") == "/run"
    assert _link(tree, "/etc/mtab") == "../proc/self/mounts"


def test_users_and_names_come_from_packages_where_they_have_them(make: Callable[..., Tree]) -> None:
    share = "/usr/share"
    tree = make(
        Deb("base-passwd", {f"{share}/base-passwd/passwd.master": b"root:*:0\n", "/etc/group": b"mine\n"}),
        Deb("libc-bin", {f"{share}/libc-bin/nsswitch.conf": b"passwd: files systemd\n"}),
    )
    assert _text(tree, "/etc/passwd") == b"root:*:0\n"
    assert _text(tree, "/etc/group") == b"mine\n"
    assert _text(tree, "/etc/nsswitch.conf") == b"passwd: files systemd\n"
    bare = make(Deb("bash", {"/bin/bash": b"B"}))
    assert _text(bare, "/etc/passwd").startswith(b"root:x:0:0:root:/root:/bin/bash\n")
    assert b"tty:x:5:" in _text(bare, "/etc/group")
    assert b"passwd: files" in _text(bare, "/etc/nsswitch.conf")


@pytest.mark.parametrize(
    ("programs", "chosen"), [(("mawk",), "mawk"), (("gawk", "mawk"), "gawk"), (("original-awk",), "original-awk")]
)
def test_awk_is_the_one_that_debian_prefers(make: Callable[..., Tree], programs: tuple[str, ...], chosen: str) -> None:
    tree = make(*(Deb(name, {f"/usr/bin/{name}": name.encode()}) for name in programs))
    assert _link(tree, "/usr/bin/awk") == "/etc/alternatives/awk"
    assert _link(tree, "/etc/alternatives/awk") == f"/usr/bin/{chosen}"
    assert _text(tree, "/usr/bin/nawk") == chosen.encode()


@pytest.mark.parametrize(
    ("programs", "shell"),
    [(("bash", "dash", "busybox"), "dash"), (("bash", "busybox"), "bash"), (("busybox",), "busybox")],
)
def test_sh_is_a_link_unless_a_package_has_it(make: Callable[..., Tree], programs: tuple[str, ...], shell: str) -> None:
    tree = make(*(Deb(name, {f"/bin/{name}": b"x"}) for name in programs))
    assert _link(tree, "/bin/sh") == shell
    own = make(*(Deb(name, {f"/bin/{name}": b"x"}) for name in programs), Deb("shell", {"/bin/sh": b"own"}))
    assert _text(own, "/bin/sh") == b"own"


def test_busybox_gets_links_for_what_nothing_else_provides(make: Callable[..., Tree]) -> None:
    packages = (
        Deb("busybox", {"/bin/busybox": _BUSYBOX}),
        Deb("coreutils", {"/bin/ls": b"ls", "/usr/sbin/wc": b"wc"}),
        Deb("mawk", {"/usr/bin/mawk": b"mawk"}),
    )
    tree = make(*packages)
    linked = {name for name in _APPLETS if _link(tree, f"/bin/{name}") == "busybox"}
    assert linked == {"[", "[[", "ash", "cat", "sh", "vi"}
    assert _text(tree, "/bin/awk") == b"mawk"
    without = make(*packages, busybox_links=False)
    assert {name for name in _APPLETS if _link(without, f"/bin/{name}") == "busybox"} == set()


def test_a_busybox_without_a_table_is_noted(make: Callable[..., Tree]) -> None:
    tree = make(Deb("busybox", {"/bin/busybox": b"\x7fELF nothing"}))
    assert any("no table of applets" in note for note in tree.notes)


def test_applets_are_the_longest_run_of_names_in_order() -> None:
    assert applet_names(_BUSYBOX) == tuple(name.encode() for name in _APPLETS)
    falling = b"".join(b"%c%c\0" % (122 - number, 122 - number) for number in range(20))
    assert applet_names(falling) == ()


def test_the_loaders_cache_lists_the_libraries(make: Callable[..., Tree]) -> None:
    directory = "/usr/lib/s390x-linux-gnu"
    tree = make(Deb("liba1", {f"{directory}/liba.so.1.2": shared_object("liba.so.1", S390X)}))
    decoded = decode_cache(_text(tree, "/etc/ld.so.cache"))
    assert decoded.byte_order == "big"
    assert [entry.path for entry in decoded.entries] == [b"/lib/s390x-linux-gnu/liba.so.1"]
    assert _link(tree, f"{directory}/liba.so.1") == "liba.so.1.2"


def test_an_architecture_without_a_known_cache_is_noted(make: Callable[..., Tree]) -> None:
    tree = make(Deb("one", {"/usr/bin/a": b"a"}, arch="hppa"), arch="hppa")
    assert any("ld.so.cache" in note and "hppa" in note for note in tree.notes)


def test_a_package_takes_over_files_of_those_that_it_replaces(make: Callable[..., Tree]) -> None:
    old, new = Deb("aold", {"/f": b"old"}), Deb("bnew", {"/f": b"new"}, fields={"Replaces": "other, aold (<< 2)"})
    assert _text(make(old, new), "/f") == b"new"
    assert _text(make(new, old), "/f") == b"new"
    stranger = make(old, Deb("bnew", {"/f": b"new"}))
    assert _text(stranger, "/f") == b"old"
    assert stranger.notes == ["/f: that of bnew was left out, which aold has too"]


def test_a_link_to_a_directory_stays_and_a_directory_does_not_become_a_link(make: Callable[..., Tree]) -> None:
    tree = make(
        Deb("a", {"/data/real": 0o755, "/data/link": "real", "/data/dir/x": b"x"}),
        Deb("b", {"/data/link/y": b"y", "/data/dir": "real"}),
    )
    assert _text(tree, "/data/real/y") == b"y"
    assert _text(tree, "/data/dir/x") == b"x"


def test_files_of_our_own_have_the_newest_time_of_the_packages(make: Callable[..., Tree]) -> None:
    tree = make(Deb("one", {"/f": b"f"}))
    assert _node(tree, "/etc/passwd").attributes.mtime_s == MTIME_S


def test_the_same_packages_make_the_same_tree(make: Callable[..., Tree]) -> None:
    def listing() -> list[tuple[bytes, bytes, object]]:
        tree = make(Deb("busybox", {"/bin/busybox": _BUSYBOX}), Deb("one", {"/etc/x": b"x"}))
        return [(path, name, node.attributes) for path, at in walk(tree.root) for name, node in at.entries.items()]

    assert listing() == listing()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "found no ar archive"),
        (b"!<arch>\n" + b"x" * 70, "bad header at byte 8"),
        (b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n", "wanted data.tar"),
        (b"!<arch>\ndata.tar        0           0     0     100644  9999      `\n", "bad header at byte 8"),
    ],
)
def test_a_damaged_package_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x_1_all.deb").write_bytes(content)
    with pytest.raises(ImageError, match=f"x_1_all.deb.*{message}"):
        unpack([tmp_path / "x_1_all.deb"], "s390x", busybox_links=True)
