"""Features of mke2fs: what the reader mounts, the checker checks as e2fsck does."""

import random
from pathlib import Path

import pytest
from ext2_support import e2fs
from image_support import e2fsck_findings, opened_image
from needs_support import needs

from dcss.errors import ImageError
from dcss.ext2.fsck.check import check_image
from dcss.ext2.source import BufferSource
from dcss.image.map import map_image
from dcss.image.opened import image_source

pytestmark = [needs("mke2fs"), needs("e2fsck")]

CHECKED = (
    *("none", "^ext_attr", "^resize_inode", "^dir_index", "^filetype", "^sparse_super,^resize_inode", "^large_file"),
    *("dir_nlink", "extra_isize", "fast_commit", "has_journal", "has_journal,orphan_file", "huge_file"),
    *("meta_bg,^resize_inode", "quota", "quota,project", "sparse_super2", "verity", "stable_inodes"),
    *("metadata_csum", "uninit_bg", "metadata_csum,meta_bg,^resize_inode", "metadata_csum,^dir_index"),
)


def _made(kind: str, feature: str, tmp_path: Path, *options: str) -> Path:
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    for number in range(40):
        (tree / "dir" / str(number)).write_bytes(b"x" * number * 700)
    image = tmp_path / "x.img"
    e2fs("mke2fs", "-q", "-F", "-t", kind, "-O", feature, *options, "-d", tree, image, "8M")
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


@pytest.mark.parametrize("feature", ["metadata_csum", "uninit_bg", "metadata_csum,uninit_bg,^dir_index"])
def test_groups_that_were_never_written_and_indexed_directories(feature: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    for number in range(500):
        (tree / "dir" / f"{number:060}").touch()
    image = tmp_path / "x.img"
    e2fs("mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-O", feature, "-d", tree, image, "40M")
    e2fs("e2fsck", "-fyD", image)
    with image_source(image) as source:
        assert check_image(source).problems == ()
    assert e2fsck_findings(image) == []


@pytest.mark.parametrize("feature", ["metadata_csum", "uninit_bg"])
def test_damage_is_found_where_e2fsck_finds_it(feature: str, tmp_path: Path) -> None:
    image = _made("ext2", f"{feature},^resize_inode", tmp_path, "-b", "4096")
    pristine = image.read_bytes()
    with image_source(image) as source:
        places = [
            at
            for stretch in map_image(source, image).stretches
            if stretch.content == "metadata"
            for at in range(stretch.first_byte, stretch.first_byte + stretch.size_bytes)
            if pristine[at] or at % 1024 < 50
        ]
    rng = random.Random(1)
    for at in rng.sample(places, 30):
        changed = bytearray(pristine)
        changed[at] ^= rng.choice([1, 0x80, 0xFF])
        image.write_bytes(changed)
        try:
            clean = check_image(BufferSource(bytes(changed))).clean
        except ImageError:
            clean = False
        assert clean == (e2fsck_findings(image) == []), (at, changed[at])
