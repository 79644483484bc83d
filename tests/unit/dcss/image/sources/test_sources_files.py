import os
from pathlib import Path
from typing import Any

import pytest

from dcss.config.sources import FilesSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree, TreeDirectory, TreeFile, TreeNode, TreeSymlink
from dcss.image.problems import PatternsError
from dcss.image.sources.files import read_files


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A merged /usr: lib is a link to usr/lib, and libraries have chains of links."""
    lib = tmp_path / "usr/lib"
    lib.mkdir(parents=True)
    lib.chmod(0o751)
    (tmp_path / "lib").symlink_to("usr/lib")
    (lib / "libx.so.1.2").write_bytes(b"x" * 5000)
    (lib / "libx.so.1").symlink_to("libx.so.1.2")
    (lib / "libx.so").symlink_to(lib / "libx.so.1")
    (lib / "liby.so").write_bytes(b"y" * 100)
    (lib / "libz.so").write_bytes(b"z" * 10)
    (lib / "alias.so").hardlink_to(lib / "liby.so")
    os.utime(lib / "liby.so", (1, 1_000_000_000))
    return tmp_path


def read(*patterns: str, **more: Any) -> Tree:
    return read_files(FilesSource(patterns, **more))


def at(tree: Tree, path: Path) -> TreeNode | None:
    node: TreeNode | None = tree.root
    for part in os.fsencode(path).split(b"/")[1:]:
        assert isinstance(node, TreeDirectory)
        node = node.entries.get(part)
    return node


def paths(tree: Tree, below: Path) -> list[str]:
    found = []
    pending = [(b"", tree.root)]
    while pending:
        prefix, directory = pending.pop()
        for name, node in directory.entries.items():
            found.append(os.fsdecode(prefix + b"/" + name))
            if isinstance(node, TreeDirectory):
                pending.append((prefix + b"/" + name, node))
    return sorted(path.removeprefix(f"{below}/") for path in found if path.startswith(f"{below}/"))


def test_a_file_keeps_its_path_and_its_parents_their_modes(host: Path) -> None:
    tree = read(f"{host}/usr/lib/liby.so")
    file, directory = at(tree, host / "usr/lib/liby.so"), at(tree, host / "usr/lib")
    assert isinstance(file, TreeFile)
    assert file.size_bytes == 100
    assert directory is not None
    assert directory.attributes.mode == 0o40751
    # A parent is as old as what was taken from it, not as the host's directory.
    assert directory.attributes.mtime_s == 1_000_000_000
    assert tree.root.attributes.mtime_s == 1_000_000_000


def test_a_link_brings_every_link_on_the_way_and_its_target(host: Path) -> None:
    tree = read(f"{host}/usr/lib/libx.so")
    assert paths(tree, host) == ["usr", "usr/lib", "usr/lib/libx.so", "usr/lib/libx.so.1", "usr/lib/libx.so.1.2"]
    first, second = at(tree, host / "usr/lib/libx.so"), at(tree, host / "usr/lib/libx.so.1")
    assert isinstance(first, TreeSymlink)
    assert isinstance(second, TreeSymlink)
    assert first.target == os.fsencode(host / "usr/lib/libx.so.1")
    assert second.target == b"libx.so.1.2"


def test_a_path_through_a_linked_directory_resolves_in_the_image(host: Path) -> None:
    tree = read(f"{host}/lib/liby.so")
    assert paths(tree, host) == ["lib", "usr", "usr/lib", "usr/lib/liby.so"]
    link = at(tree, host / "lib")
    assert isinstance(link, TreeSymlink)
    assert link.target == b"usr/lib"


def test_the_same_file_by_two_paths_and_patterns_is_stored_once(host: Path) -> None:
    tree = read(f"{host}/lib/*.so*", f"{host}/usr/lib/liby.so")
    assert at(tree, host / "usr/lib/liby.so") is at(tree, host / "usr/lib/alias.so")
    assert len([path for path in paths(tree, host) if "liby" in path]) == 1


def test_a_link_to_a_directory_brings_the_directory(host: Path) -> None:
    tree = read(f"{host}/l*")
    assert paths(tree, host) == ["lib", "usr", "usr/lib"]


def test_a_pattern_without_a_match_is_named(host: Path) -> None:
    with pytest.raises(ImageError, match=r"pattern .*/lib/\*\.dll: matches nothing on this machine"):
        read(f"{host}/lib/*.dll")
    with pytest.raises(
        ImageError, match=r"matches only the directory .*/usr/lib on this machine, .* write .*/usr/lib/\*\*$"
    ):
        read(f"{host}/usr/lib")


def test_what_this_user_may_not_see_is_named(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, lstat, access = f"{host}/usr/lib", os.lstat, os.access

    def refusing_lstat(path: str | bytes) -> os.stat_result:
        if os.fsdecode(path).startswith(f"{secret}/"):
            raise PermissionError(13, "Permission denied", path)
        return lstat(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", refusing_lstat)
        with pytest.raises(
            ImageError, match=rf"wanted at least one file; {secret}/x cannot be looked at: Permission denied$"
        ):
            read(f"{secret}/x")
    monkeypatch.setattr(
        os, "access", lambda path, mode: os.fsdecode(path) != f"{secret}/libz.so" and access(path, mode)
    )
    with pytest.raises(PatternsError) as caught:
        read(f"{host}/usr/**", f"{secret}/*")
    (problem,) = caught.value.problems
    wanted = f"pattern {host}/usr/**: {secret}/libz.so cannot be read: Permission denied; exclude it"
    assert problem == ("files", 0, wanted)
    assert read(f"{host}/usr/**", exclude=(f"{secret}/libz.so",))


def test_a_dangling_link_is_named_with_its_pattern(host: Path) -> None:
    (host / "usr/lib/gone.so").symlink_to("nowhere")
    with pytest.raises(ImageError, match=r"pattern .*gone\.so: .*/nowhere: No such file"):
        read(f"{host}/usr/lib/gone.so")


def test_a_loop_of_links_is_named(host: Path) -> None:
    (host / "a").symlink_to("b")
    (host / "b").symlink_to("a")
    with pytest.raises(ImageError, match="leads through more than 40 links"):
        read(f"{host}/a")


def test_as_many_links_as_the_kernel_follows_are_followed(host: Path) -> None:
    chain = host / "chain"
    chain.mkdir()
    (chain / "0").write_bytes(b"end")
    for number in range(1, 42):
        (chain / str(number)).symlink_to(str(number - 1))
    assert paths(read(f"{chain}/40"), chain) == sorted(map(str, range(41)))
    assert (chain / "40").read_bytes() == b"end"
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        (chain / "41").read_bytes()
    with pytest.raises(ImageError, match="leads through more than 40 links"):
        read(f"{chain}/41")


def test_dotdot_in_a_link_starts_from_where_the_link_is(host: Path) -> None:
    (host / "usr/up.so").symlink_to("../lib/../lib/libz.so")
    tree = read(f"{host}/usr/up.so")
    assert paths(tree, host) == ["usr", "usr/lib", "usr/lib/libz.so", "usr/up.so"] or "lib" in paths(tree, host)
    assert isinstance(at(tree, host / "usr/lib/libz.so"), TreeFile)


def test_max_bytes_leaves_out_what_does_not_fit_and_its_links(host: Path) -> None:
    tree = read(f"{host}/usr/lib/*", max_bytes=200)
    # alias.so and liby.so are one file of 100 bytes; libx.so.1.2 of 5000 does not fit, libz.so of 10 does.
    assert paths(tree, host) == ["usr", "usr/lib", "usr/lib/alias.so", "usr/lib/liby.so", "usr/lib/libz.so"]
    assert tree.left_out == 1


def test_what_an_earlier_pattern_matches_has_room_first(host: Path) -> None:
    tree = read(f"{host}/usr/lib/libx.so.*", f"{host}/usr/lib/*", max_bytes=5010)
    assert f"{host}/usr/lib/libx.so.1.2".rpartition("/")[2] in {path.rpartition("/")[2] for path in paths(tree, host)}
    assert not {"usr/lib/alias.so", "usr/lib/liby.so"} & set(paths(tree, host))
    assert tree.left_out == 1


def test_too_few_files_or_bytes_is_an_error(host: Path) -> None:
    with pytest.raises(ImageError, match=r"found 3 files of 5110 bytes, wanted at least 4 files"):
        read(f"{host}/usr/lib/*", min_files=4)
    with pytest.raises(ImageError, match=r"found 2 files of 110 bytes \(1 left out by the limit of 200 bytes\)"):
        read(f"{host}/usr/lib/*", min_bytes=1000, max_bytes=200)
    assert read(f"{host}/usr/lib/*", min_files=3, min_bytes=5110).left_out == 0


def test_what_exclude_matches_is_left_out_with_all_below_it(host: Path) -> None:
    (host / "usr/lib/sub/deep").mkdir(parents=True)
    (host / "usr/lib/sub/deep/x.so").write_bytes(b"1")
    tree = read(f"{host}/usr/**/*.so*", exclude=(f"{host}/usr/lib/sub", f"{host}/**/libx*"))
    assert paths(tree, host) == ["usr", "usr/lib", "usr/lib/alias.so", "usr/lib/liby.so", "usr/lib/libz.so"]
    assert tree.notes == []


def test_a_link_whose_target_is_excluded_is_left_out_and_named(host: Path) -> None:
    tree = read(f"{host}/usr/lib/lib*", exclude=(f"{host}/usr/lib/libx.so.1.2", f"{host}/nothing"))
    assert paths(tree, host) == ["usr", "usr/lib", "usr/lib/liby.so", "usr/lib/libz.so"]
    assert tree.notes == [
        f"{host}/usr/lib/libx.so is left out with {host}/usr/lib/libx.so.1.2, its target",
        f"{host}/usr/lib/libx.so.1 is left out with {host}/usr/lib/libx.so.1.2, its target",
        f"exclude: pattern {host}/nothing leaves nothing out",
    ]


def test_everything_that_is_wrong_with_patterns_comes_at_once(host: Path) -> None:
    for name in ("one", "two"):
        (host / f"usr/lib/{name}.dangling").symlink_to("nowhere")
    with pytest.raises(PatternsError) as caught:
        read(
            f"{host}/no*",
            f"{host}/usr",
            f"{host}/usr/lib/*.dangling",
            f"{host}/usr/lib/libz.so",
            exclude=("x", "/**/libz.so"),
        )
    assert [(problem.key, problem.number) for problem in caught.value.problems] == [
        ("exclude", 0),
        ("files", 0),
        ("files", 1),
        ("files", 2),
        ("files", 3),
    ]
    messages = [problem.message for problem in caught.value.problems]
    assert messages[0] == "pattern x: wanted the absolute path of files, without .."
    assert messages[2].endswith(f"write {host}/usr/**")
    assert "one.dangling leads through the link" in messages[3]
    assert messages[3].endswith("No such file or directory (and 1 more links like it)")
    assert messages[4].endswith("exclude: leaves out all 1 files that it matches, wanted at least one")
