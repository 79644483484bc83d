"""Features of mke2fs: what the reader mounts, the checker checks as e2fsck does, or says that it cannot."""

from pathlib import Path

import pytest
from ext2_support import e2fs
from image_support import e2fsck_findings
from needs_support import needs

from dcss.errors import ImageError
from dcss.ext2.fsck.check import check_image
from dcss.image.opened import image_source, opened_image

pytestmark = [needs("mke2fs"), needs("e2fsck")]

CHECKED = (
    *("none", "^ext_attr", "^resize_inode", "^dir_index", "^filetype", "^sparse_super,^resize_inode", "^large_file"),
    *("dir_nlink", "extra_isize", "fast_commit", "has_journal", "has_journal,orphan_file", "huge_file"),
    *("meta_bg,^resize_inode", "quota", "quota,project", "sparse_super2", "verity", "stable_inodes"),
)
IN_WORDS = {"metadata_csum": "METADATA_CSUM", "uninit_bg": "GDT_CSUM"}


def _made(kind: str, feature: str, tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    for number in range(40):
        (tree / "dir" / str(number)).write_bytes(b"x" * number * 700)
    image = tmp_path / "x.img"
    e2fs("mke2fs", "-q", "-F", "-t", kind, "-O", feature, "-d", tree, image, "8M")
    return image


@pytest.mark.parametrize("feature", CHECKED)
@pytest.mark.parametrize("kind", ["ext2", "ext3"])
def test_a_feature_that_is_read_is_checked(kind: str, feature: str, tmp_path: Path) -> None:
    image = _made(kind, feature, tmp_path)
    with opened_image(image) as opened:
        assert sum(1 for _ in opened.volume.walk()) >= 43
    with image_source(image) as source:
        assert check_image(source).problems == ()
    if "quota" not in feature:  # mke2fs -d does not count what it copies
        assert e2fsck_findings(image) == []


@pytest.mark.parametrize("feature", IN_WORDS)
def test_a_feature_that_cannot_be_checked_is_named(feature: str, tmp_path: Path) -> None:
    with (
        image_source(_made("ext2", feature, tmp_path)) as source,
        pytest.raises(ImageError, match=f"it has {IN_WORDS[feature]}, use the e2fsck that knows it"),
    ):
        check_image(source)
