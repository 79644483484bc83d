"""Which files of a planned image a guest's pattern matches."""

from pathlib import Path

import pytest

from dcss.config.sources import DirectorySource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree
from dcss.image.contents import matched_files
from dcss.image.sources import read_tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A merged /usr with a library of two names, a link to it, and links that lead in a circle and nowhere."""
    lib = tmp_path / "usr/lib/x"
    lib.mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (lib / "a.so").write_bytes(b"a" * 1000)
    (lib / "same.so").hardlink_to(lib / "a.so")
    (lib / "b.so").write_bytes(b"b" * 10)
    (lib / "link.so").symlink_to("/usr/lib/x/b.so")
    (lib / "circle").symlink_to("circle")
    (lib / "up").symlink_to("../../../../usr")
    return read_tree(DirectorySource(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "files", "size_bytes"),
    [
        ("/usr/lib/**/*.so*", 2, 1010),
        ("/lib/x/*.so", 2, 1010),
        ("/lib/x/a.so", 1, 1000),
        ("/lib/x/link.so", 1, 10),
        ("/lib/x/l*.so", 0, 0),  # behind a wildcard, links are not followed
        ("/l*/x/a.so", 0, 0),
        ("/**", 2, 1010),
        ("/lib/x/up/lib/x/b.so", 1, 10),
        ("/lib/x/circle/*", 0, 0),
        ("/lib/nothing/**", 0, 0),
        ("/lib/x", 0, 0),
        ("/lib/x/a.so/*", 0, 0),
    ],
)
def test_a_pattern_finds_what_a_guest_would_find(tree: Tree, pattern: str, files: int, size_bytes: int) -> None:
    found = matched_files(tree, pattern)
    assert (found.files, found.size_bytes) == (files, size_bytes)


def test_a_pattern_with_dots_behind_a_wildcard_is_refused(tree: Tree) -> None:
    with pytest.raises(ImageError, match="without"):
        matched_files(tree, "/usr/*/../x")
