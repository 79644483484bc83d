"""`save: true` at each start of a system: what the spool holds already is not written again."""

from pathlib import Path
from typing import Any

from cli_support import GUEST, MAP, Dcss

SHARERS = f"name: G, count: 2, {GUEST}, {MAP}"
SAVED = '  - {name: LIB, define: ["20000-201FF SR"], image: {directory: tree}, save: true}'


def saved(dcss: Dcss) -> dict[str, Any]:
    (row,) = dcss.json("segment", "query", "--system", dcss.system)["segments"]
    return dict(row)


def content(dcss: Dcss, file: int) -> Path:
    return dcss.home / "state/dcss" / dcss.system / f"{file:04d}.content"


def run(dcss: Dcss, segment: str = SAVED) -> str:
    done = dcss("run", dcss.config(SHARERS, segment=segment))
    assert done.stdout.startswith("VERIFIED")
    return done.stderr


def test_the_same_content_stays_the_same_file(dcss: Dcss) -> None:
    run(dcss)
    first, on_disk = saved(dcss), content(dcss, 1).stat()
    run(dcss)
    assert saved(dcss) == first
    again = content(dcss, 1).stat()
    assert (again.st_ino, again.st_mtime_ns) == (on_disk.st_ino, on_disk.st_mtime_ns)
    assert sorted(path.name for path in content(dcss, 1).parent.iterdir()) == ["0001.content", "0001.manifest"]


def test_one_byte_or_another_place_is_a_new_file(dcss: Dcss) -> None:
    run(dcss)
    first = saved(dcss)
    library = dcss.home / "tree/usr/lib/lib07.so"
    data = bytearray(library.read_bytes())
    data[5000] ^= 1
    library.write_bytes(data)
    run(dcss)
    second = saved(dcss)
    assert (first["file"], second["file"]) == (1, 2)
    assert second["sha256"] != first["sha256"]
    assert bytes(data) in content(dcss, 2).read_bytes()
    run(dcss, SAVED.replace("20000-201FF SR", "30000-301FF SR"))
    third = saved(dcss)
    assert (third["file"], third["sha256"], third["ranges"][0]["first_page"]) == (3, second["sha256"], 0x30000)


def test_what_is_damaged_on_disk_is_saved_anew_and_told(dcss: Dcss) -> None:
    run(dcss)
    good = content(dcss, 1).read_bytes()
    with content(dcss, 1).open("r+b") as damaged:
        damaged.write(b"x")
    assert "warning: spool file 0001 is damaged" in run(dcss)
    again = saved(dcss)
    assert content(dcss, again["file"]).read_bytes() == good
    assert (content(dcss, 1).parent / "damaged/0001.content.1").exists()
