import stat

import pytest

from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import NodeAttributes, TreeDirectory, TreeNode, TreeSpecial, TreeSymlink
from dcss.image.sources.overlay import Overlay


def file(mtime_s: int = 0) -> TreeNode:
    return TreeSpecial(NodeAttributes(stat.S_IFIFO | 0o644, 0, 0, mtime_s))


def directory(mode: int = 0o755) -> TreeDirectory:
    return TreeDirectory(NodeAttributes(stat.S_IFDIR | mode, 1, 2, 3))


def link(target: bytes) -> TreeSymlink:
    return TreeSymlink(NodeAttributes(stat.S_IFLNK | 0o777, 0, 0, 0), target)


def names(node: TreeNode | None, prefix: str = "") -> list[str]:
    assert isinstance(node, TreeDirectory)
    found = []
    for name, child in sorted(node.entries.items()):
        found.append(prefix + name.decode())
        if isinstance(child, TreeDirectory):
            found += names(child, f"{prefix}{name.decode()}/")
    return found


def layered(*layers: dict[bytes, TreeNode]) -> Overlay:
    overlay = Overlay("test.tar")
    for layer in layers:
        overlay.begin_layer()
        for path, node in layer.items():
            overlay.add(path, node)
    return overlay


def test_missing_parents_are_made_and_given_attributes_later() -> None:
    overlay = Overlay("test.tar")
    overlay.add(b"./a/b", file())
    overlay.add(b"a/", directory(0o700))
    overlay.add(b".", directory(0o711))
    assert names(overlay.root) == ["a", "a/b"]
    assert overlay.root.attributes.mode == 0o40711
    node = overlay.find(b"/a")
    assert node is not None
    assert node.attributes.mode == 0o40700


def test_members_go_through_links_inside_of_the_tree() -> None:
    overlay = Overlay("test.tar")
    overlay.add(b"usr/lib", directory())
    overlay.add(b"lib", link(b"usr/lib"))
    overlay.add(b"lib/x", file())
    overlay.add(b"abs", link(b"/../../lib"))
    overlay.add(b"abs/y", file())
    assert names(overlay.root) == ["abs", "lib", "usr", "usr/lib", "usr/lib/x", "usr/lib/y"]


@pytest.mark.parametrize("path", [b"../x", b"a/../../x", b"/.."])
def test_a_path_with_dotdot_is_refused(path: bytes) -> None:
    with pytest.raises(ImageError, match=r"test.tar: member .*: wanted a path without \.\."):
        Overlay("test.tar").add(path, file())


def test_a_loop_of_links_and_a_file_as_directory_are_refused() -> None:
    overlay = Overlay("test.tar")
    overlay.add(b"a", link(b"b"))
    overlay.add(b"b", link(b"a"))
    overlay.add(b"f", file())
    with pytest.raises(ImageError, match="a/x leads through more than 40 links"):
        overlay.add(b"a/x", file())
    with pytest.raises(ImageError, match="f/x: f is no directory"):
        overlay.add(b"f/x", file())


def test_a_path_may_lead_through_as_many_links_as_the_kernel_follows() -> None:
    overlay = Overlay("test.tar")
    overlay.add(b"0", directory())
    for number in range(1, 42):
        overlay.add(b"%d" % number, link(b"%d" % (number - 1)))
    overlay.add(b"40/x", file())
    assert overlay.find(b"0/x") is not None
    assert overlay.find(b"40/none") is None
    assert overlay.find(b"none/x") is None
    assert overlay.find(b"0/x/y") is None
    with pytest.raises(ImageError, match="41/y leads through more than 40 links"):
        overlay.add(b"41/y", file())


def test_the_upper_layer_wins_and_directories_merge() -> None:
    upper = file(7)
    overlay = layered({b"d/a": file(1), b"d/b": file(1)}, {b"d": directory(0o700), b"d/b": upper})
    assert names(overlay.root) == ["d", "d/a", "d/b"]
    assert overlay.find(b"d/b") is upper
    overlay = layered({b"x/inner": file()}, {b"x": upper})
    assert names(overlay.root) == ["x"]


def test_a_whiteout_hides_what_is_below_and_not_what_comes_with_it() -> None:
    lower = {b"a": file(), b"d/one": file(), b"d/two": file()}
    assert names(layered(lower, {b".wh.a": file()}).root) == ["d", "d/one", "d/two"]
    assert names(layered(lower, {b".wh.d": file()}).root) == ["a"]
    assert names(layered(lower, {b".wh.d": file(), b"d/new": file()}).root) == ["a", "d", "d/new"]
    assert names(layered(lower, {b"d/new": file(), b".wh.d": file()}).root) == ["a", "d", "d/new"]
    assert names(layered(lower, {b"a": file(9), b".wh.a": file()}).root) == ["a", "d", "d/one", "d/two"]
    assert names(layered(lower, {b"d/.wh.gone": file()}).root) == ["a", "d", "d/one", "d/two"]


def test_an_opaque_directory_hides_all_that_is_below_wherever_it_stands() -> None:
    lower = {b"d/one": file(), b"d/sub/two": file(), b"d/sub/three": file()}
    for upper in (
        {b"d/.wh..wh..opq": file(), b"d/sub/new": file()},
        {b"d/sub/new": file(), b"d/.wh..wh..opq": file()},
    ):
        assert names(layered(lower, upper).root) == ["d", "d/sub", "d/sub/new"]


def test_aufs_marks_are_left_out_and_plain_tars_know_no_whiteouts() -> None:
    assert names(layered({b".wh..wh.plnk": file()}).root) == []
    overlay = Overlay("test.tar")
    overlay.add(b".wh.x", file())
    assert names(overlay.root) == [".wh.x"]
