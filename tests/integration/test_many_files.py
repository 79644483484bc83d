"""Many small files: what a guest's process has of them stays far below vm.max_map_count."""

import io
import tarfile
from pathlib import Path

import pytest
from cli_support import GUEST, Dcss

from dcss.account.maps import parse_maps

FILES = 10_000


def make_tar(path: Path) -> None:
    """Write files of one to five pages, the size of each its own business, into a hundred directories."""
    with tarfile.open(path, "w") as archive:
        for number in range(FILES):
            member = tarfile.TarInfo(f"usr/d{number % 100:02d}/f{number}")
            member.size = 1 + number * 7919 % 20480
            archive.addfile(member, io.BytesIO(number.to_bytes(4, "big") * (member.size // 4 + 1)))


@pytest.mark.parametrize("boot", ["full", "clone"])
def test_the_host_joins_the_mappings_of_files_that_adjoin(dcss: Dcss, boot: str) -> None:
    make_tar(dcss.home / "many.tar")
    segment = "  - {name: LIB, at: 0x20000000, image: {tar: many.tar}}"
    dcss("up", "-d", dcss.config(f"name: G, count: 2, boot: {boot}, {GUEST}, run: [{{map: /usr/**}}]", segment=segment))
    maps = parse_maps(Path(f"/proc/{dcss.pid_of('G02')}/maps").read_bytes())
    of_segment = [vma for vma in maps if vma.path.startswith(b"/dev/shm/dcss.")]
    assert 2 <= len(of_segment) <= FILES // 1000  # one is the window's
    assert len(maps) < FILES // 10
    (measured,) = {guest["guest"]["xip_bytes"] for guest in dcss.json("measure", dcss.system)["guests"]}
    assert measured >= FILES * 4096
    files = dcss.json("verify", dcss.system, status=None)["files"]
    assert len(files) == FILES
    assert all(file["checked_pages"] == file["pages"] for file in files)
