"""Which number each inode gets, and what ext2 cannot keep."""

from stat import S_IFREG

import pytest

from dcss.abi.ext2 import XATTR_REFCOUNT_MAX
from dcss.errors import ImageError
from dcss.ext2.mkfs import numbering
from dcss.ext2.mkfs.numbering import clamp_time, number_inodes
from dcss.ext2.mkfs.tree import NodeAttributes, Tree, TreeDirectory, TreeNode, default_directory, walk

EARLIEST_S, LATEST_S = -(1 << 31), (1 << 31) - 1


def node(mtime_s: int = 0, *xattrs: tuple[bytes, bytes]) -> TreeNode:
    return TreeNode(NodeAttributes(S_IFREG | 0o644, 0, 0, mtime_s, xattrs))


def directory(**entries: TreeNode) -> TreeDirectory:
    made = default_directory()
    made.entries.update((name.encode(), entry) for name, entry in entries.items())
    return made


def numbered(tree: Tree) -> list[tuple[int, bytes, int]]:
    return [(inode.number, inode.path, inode.parent) for inode in number_inodes(tree).inodes]


def test_directories_come_first_in_order_of_their_paths_then_files_by_directory() -> None:
    root = directory(b=directory(y=node(), x=node(), c=directory(z=node())), a=directory(w=node()), v=node())
    assert [path for path, _ in walk(root)] == [b"/", b"/a", b"/b", b"/b/c"]
    assert numbered(Tree(root)) == [
        (2, b"/", 2),
        (11, b"/lost+found", 2),
        (12, b"/a", 2),
        (13, b"/b", 2),
        (14, b"/b/c", 13),
        (15, b"/v", 0),
        (16, b"/a/w", 0),
        (17, b"/b/x", 0),
        (18, b"/b/y", 0),
        (19, b"/b/c/z", 0),
    ]


def test_links_are_counted_and_a_file_is_numbered_at_its_first_path() -> None:
    shared = node()
    root = directory(b=directory(one=shared, two=shared), a=directory(three=shared, sub=directory()))
    found = number_inodes(Tree(root))
    links = {inode.path: inode.links for inode in found.inodes}
    assert links == {b"/": 5, b"/lost+found": 2, b"/a": 3, b"/a/sub": 2, b"/b": 2, b"/a/three": 3}
    assert found.numbers[shared] == found.last_number == 15
    assert found.directories == 5


def test_as_many_links_as_ext2_counts_are_taken_and_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, "LINK_MAX", 9)
    shared = node()
    root = directory(**{f"{number}": shared for number in range(9)})
    assert number_inodes(Tree(root)).inodes[-1].links == 9
    root.entries[b"more"] = shared
    with pytest.raises(ImageError, match="/0 has 10 links, ext2 counts at most 9"):
        number_inodes(Tree(root))


def test_a_lost_and_found_that_is_there_is_kept() -> None:
    kept = directory(x=node())
    found = number_inodes(Tree(directory(**{"lost+found": kept})))
    assert found.numbers[kept] == 11
    with pytest.raises(ImageError, match=r"/lost\+found is no directory"):
        number_inodes(Tree(directory(**{"lost+found": node()})))


@pytest.mark.parametrize("name", [b"", b"a/b", b"a\0b", b"x" * 256])
def test_names_that_ext2_has_not_are_refused(name: bytes) -> None:
    root = default_directory()
    root.entries[b"x" * 255] = node()
    number_inodes(Tree(root))
    root.entries[name] = node()
    with pytest.raises(ImageError, match="wanted 1 to 255 bytes, no / and no NUL"):
        number_inodes(Tree(root))


def test_times_at_ext2s_edges_are_kept_and_those_beyond_are_noted() -> None:
    tree = Tree(directory(a=node(EARLIEST_S), b=node(LATEST_S)))
    number_inodes(tree)
    assert tree.notes == []
    tree = Tree(directory(a=node(EARLIEST_S), b=node(EARLIEST_S - 1), c=node(LATEST_S + 1)))
    number_inodes(tree)
    assert tree.notes == ["2 times lie outside of ext2's 1901 to 2038 and were moved to its edge, first /b"]
    edges = (EARLIEST_S - 1, EARLIEST_S, 0, LATEST_S, LATEST_S + 1)
    assert [clamp_time(time_s) for time_s in edges] == [EARLIEST_S, EARLIEST_S, 0, LATEST_S, LATEST_S]


def test_equal_attributes_share_a_block_as_often_as_it_can_count() -> None:
    names = [f"{number:04}" for number in range(XATTR_REFCOUNT_MAX + 1)]
    root = directory(**{name: node(0, (b"user.x", b"1")) for name in names}, zz=node(0, (b"user.x", b"2")))
    found = number_inodes(Tree(root))
    assert len(found.xattr_blocks) == 3
    blocks = [inode.xattr_block for inode in found.inodes if inode.path > b"/0" and inode.path != b"/lost+found"]
    assert blocks == [0] * XATTR_REFCOUNT_MAX + [1, 2]


def test_attributes_that_ext2_has_no_place_for_are_noted() -> None:
    tree = Tree(directory(file=node(0, (b"system.other", b"x"))))
    assert number_inodes(tree).xattr_blocks == []
    assert tree.notes == ["/file: ext2 has no place for attribute system.other"]
