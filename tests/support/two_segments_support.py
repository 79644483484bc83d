"""One file system over the segments M1 and M2, which adjoin: trees with a file on the border, and configurations."""

from pathlib import Path
from typing import Any

from cli_support import Dcss

MIB = 1 << 20
MAPS = 'mounts: [{device: dcssblk0, at: /, options: [ro, xip]}], run: [{map: "/*"}]'
_HALVES = ("0x20000000", "0x20100000")
_OVER_TWO = """\
  - {{name: M1, at: 0x20000000, size: 1M{more}, image: {{{source}}}}}
  - {{name: M2, image: {{continues: M1}}}}"""


def import_halves(dcss: Dcss, image: Path) -> None:
    """Save each half of an image of 2 MiB by itself."""
    content = image.read_bytes()
    assert len(content) == 2 * MIB
    for number, address in enumerate(_HALVES, 1):
        part = dcss.home / f"part{number}"
        part.write_bytes(content[(number - 1) * MIB : number * MIB])
        dcss(
            "segment", "import", part, "--name", f"M{number}", "--at", address, "--type", "SR", "--system", dcss.system
        )


def make_split_tree(dcss: Dcss) -> Path:
    """Make files of which one of two lies on both sides of 1 MiB of an image."""
    tree = dcss.home / "split"
    tree.mkdir()
    for number in range(2):  # too short to be aligned for huge pages
        (tree / f"large{number}").write_bytes(bytes((number, *range(1, 256))) * (200 * 16))
    (tree / "small").write_bytes(b"small" * 2000)
    return tree


def make_split_image(dcss: Dcss) -> Path:
    """Build an image of 2 MiB with a file that lies in both of its halves: either of two."""
    image = dcss.home / "whole.img"
    dcss("image", "build", make_split_tree(dcss), "-o", image, "--size", "2M")
    return image


def saved_config(dcss: Dcss, *guests: str) -> Path:
    """Write a configuration that uses the saved segments."""
    return dcss.config(*guests, segment="  - {name: M1}\n  - {name: M2}")


def over_two(dcss: Dcss, *guests: str, source: str = "directory: split", more: str = "") -> Path:
    """Write a configuration with one image over both segments."""
    return dcss.config(*guests, segment=_OVER_TWO.format(source=source, more=more))


def shared_pages(verify: dict[str, Any]) -> dict[str, int]:
    """Return how many pages each file has; all must be shared and checked."""
    pages: dict[str, int] = {}
    for file in verify["files"]:
        assert file["shared"], file
        assert file["checked_pages"] == file["pages"]
        assert file["path"] not in pages, "listed once"
        pages[file["path"]] = file["pages"]
    return pages
