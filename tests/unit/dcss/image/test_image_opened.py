"""Images that commands open: what is no file is refused at once, whatever it is."""

from pathlib import Path

import pytest
from file_kind_support import WRONG_KINDS
from image_support import opened_image

from dcss.errors import ImageError
from dcss.image.opened import image_source

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_what_is_no_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.img"
    WRONG_KINDS[kind](path)
    wanted = f"{path} cannot be read as an image: found {kind}, wanted a regular file or block device"
    with pytest.raises(ImageError) as refused, image_source(path):
        pass
    assert str(refused.value) == wanted


def test_a_file_too_short_for_a_superblock_is_no_damaged_image(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"short")
    with pytest.raises(ImageError) as refused, opened_image(tmp_path / "x"):
        pass
    assert str(refused.value) == f"{tmp_path}/x: found 5 bytes, wanted an ext2 image, of at least 2048"


def test_a_link_to_an_image_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there.img").write_bytes(b"content")
    (tmp_path / "link.img").symlink_to("there.img")
    with image_source(tmp_path / "link.img") as source:
        assert source.bytes_at(0, source.size_bytes) == b"content"
