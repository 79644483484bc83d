"""One file system over segments that adjoin: verdict, accounts and files treat them as one device."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_support import Dcss
from needs_support import needs

from dcss.abi.page import PAGE_SIZE

MIB = 1 << 20
_HALVES = ("0x20000000", "0x20100000")


def _import_halves(dcss: Dcss, image: Path) -> None:
    content = image.read_bytes()
    assert len(content) == 2 * MIB
    for number, address in enumerate(_HALVES, 1):
        part = dcss.home / f"part{number}"
        part.write_bytes(content[(number - 1) * MIB : number * MIB])
        dcss(
            "segment", "import", part, "--name", f"M{number}", "--at", address, "--type", "SR", "--system", dcss.system
        )


def _make_tree(dcss: Dcss) -> Path:
    tree = dcss.home / "split"
    tree.mkdir()
    for number in range(2):  # too short to be aligned for huge pages
        (tree / f"large{number}").write_bytes(bytes((number, *range(1, 256))) * (200 * 16))
    (tree / "small").write_bytes(b"small" * 2000)
    return tree


def _tree(dcss: Dcss) -> Path:
    """Build an image of 2 MiB with a file that lies in both of its halves: either of two."""
    image = dcss.home / "whole.img"
    dcss("image", "build", _make_tree(dcss), "-o", image, "--size", "2M")
    return image


def _plan(dcss: Dcss, *guests: str) -> Path:
    return dcss.config(*guests, segment="  - {name: M1}\n  - {name: M2}")


def _pages(verify: dict[str, Any]) -> dict[str, int]:
    pages: dict[str, int] = {}
    for file in verify["files"]:
        assert file["shared"], file
        assert file["checked_pages"] == file["pages"]
        assert file["path"] not in pages, "listed once"
        pages[file["path"]] = file["pages"]
    return pages


@needs("frames")
@pytest.mark.parametrize("device", ["M1:M2", "M2:M1"])
def test_a_file_in_two_segments_is_one_file(dcss: Dcss, device: str) -> None:
    _import_halves(dcss, _tree(dcss))
    mounts = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"
    ran = dcss.json("run", _plan(dcss, f'name: G, count: 2, dcssblk: ["{device}"], {mounts}, run: [{{map: "/*"}}]'))
    assert ran["verify"]["verdict"] == "verified"
    pages = _pages(ran["verify"])
    assert pages == {"/large0": 200, "/large1": 200, "/small": 3}
    assert "M1:M2" in {file["segment"] for file in ran["verify"]["files"]}
    assert "403 pages of 3 files, mapped by 2 guests" in ran["verify"]["claims"][0]["detail"]
    assert [guest["guest"]["xip_bytes"] for guest in ran["measure"]["guests"]] == [403 * PAGE_SIZE] * 2


_OVER_TWO = """\
  - {{name: M1, at: 0x20000000, size: 1M{more}, image: {{{source}}}}}
  - {{name: M2, image: {{continues: M1}}}}"""


def _over_two(dcss: Dcss, *guests: str, source: str = "directory: split", more: str = "") -> Path:
    return dcss.config(*guests, segment=_OVER_TWO.format(source=source, more=more))


_MAPS = 'mounts: [{device: dcssblk0, at: /, options: [ro, xip]}], run: [{map: "/*"}]'


@needs("frames")
@pytest.mark.parametrize("source", ["directory: split", "tar: split.tar.gz", "ext2: whole.img"])
def test_one_image_lies_over_two_segments(dcss: Dcss, source: str) -> None:
    _tree(dcss)
    shutil.make_archive(str(dcss.home / "split"), "gztar", dcss.home / "split")
    ran = dcss.json("run", _over_two(dcss, f"name: G, count: 2, {_MAPS}", source=source))
    assert ran["verify"]["verdict"] == "verified"
    assert _pages(ran["verify"]) == {"/large0": 200, "/large1": 200, "/small": 3}
    assert "M1:M2" in {file["segment"] for file in ran["verify"]["files"]}
    measure = ran["measure"]
    assert [guest["guest"]["xip_bytes"] for guest in measure["guests"]] == [403 * PAGE_SIZE] * 2
    assert [(segment["name"], segment["guests"]) for segment in measure["segments"]] == [("M1", 2), ("M2", 2)]
    resident_bytes = sum(segment["resident_bytes"] for segment in measure["segments"])
    assert measure["totals"] == {
        "with_sharing_bytes": resident_bytes,
        "without_sharing_bytes": 2 * 403 * PAGE_SIZE,
        "saved_bytes": 2 * 403 * PAGE_SIZE - resident_bytes,
    }


def test_a_guest_reads_what_the_tree_has(dcss: Dcss) -> None:
    tree = _make_tree(dcss)
    mounts = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}, {device: dcssblk0, at: /copied, options: [ro]}]"
    (tree / "copied").mkdir()
    dcss("up", "-d", _over_two(dcss, f"name: G, {mounts}"))
    for name in ("large0", "large1", "small"):
        digest = hashlib.sha256((tree / name).read_bytes()).hexdigest()
        for path in (f"/{name}", f"/copied/{name}"):  # in place, and through the page cache
            assert dcss("exec", "G", "--", "sha256sum", path).stdout.split()[0] == digest


def test_every_way_to_file_bytes_leads_over_the_border(dcss: Dcss) -> None:
    tree = _make_tree(dcss)
    modes = ("xip", "page-cache", "ramdisk", "mtd")
    mount = "device: dcssblk0, at: /mnt, options: [ro]"
    dcss("up", "-d", _over_two(dcss, *(f"name: G{n}, mounts: [{{{mount}, mode: {m}}}]" for n, m in enumerate(modes))))
    for number in range(len(modes)):
        for name in ("large0", "large1"):
            read = dcss("exec", f"G{number}", "--", "sha256sum", f"/mnt/{name}").stdout.split()[0]
            assert read == hashlib.sha256((tree / name).read_bytes()).hexdigest()


@needs("frames")
def test_saved_segments_are_used_again_as_one_device(dcss: Dcss) -> None:
    _make_tree(dcss)
    guest = f'name: G, count: 2, dcssblk: ["M1:M2"], {_MAPS}'
    saving = _over_two(dcss, guest, more=", save: true")
    assert dcss.json("run", saving)["verify"]["verdict"] == "verified"
    files = dcss.json("segment", "query", "--system", dcss.system)["segments"]
    assert [(file["name"], file["saved"]) for file in files] == [("M1", True), ("M2", True)]
    dcss("run", saving)  # the same content: nothing is saved again
    assert dcss.json("segment", "query", "--system", dcss.system)["segments"] == files
    ran = dcss.json("run", _plan(dcss, guest))
    assert ran["verify"]["verdict"] == "verified"
    assert _pages(ran["verify"]) == {"/large0": 200, "/large1": 200, "/small": 3}


def test_config_shows_what_the_image_over_both_holds(dcss: Dcss) -> None:
    _make_tree(dcss)
    shown = dcss.json("config", _over_two(dcss, f"name: G, {_MAPS}"))
    assert [(each["name"], each["files"]) for each in shown["segments"]] == [("M1", 3), ("M2", None)]
    assert shown["segments"][1]["content"] == "continues M1"
    assert [each["in_place"] for each in shown["segments"]] == [["G"], ["G"]]
    (guest,) = shown["guests"]
    assert guest["segments"] == ["M1:M2"]
    assert [step["files"] for step in guest["steps"]] == [3]


def test_config_shows_patterns_beside_the_first_segment_alone(dcss: Dcss) -> None:
    _make_tree(dcss)
    shown = dcss.json("config", _over_two(dcss, "name: G", source='files: ["split/*"]'))
    found = [[(each["pattern"].rpartition("/")[2], each["files"]) for each in s["patterns"]] for s in shown["segments"]]
    assert found == [[("*", 3)], []]


@needs("e2fsck", "debugfs")
def test_image_build_makes_the_whole_image_of_a_configuration(dcss: Dcss) -> None:
    _make_tree(dcss)
    config = _over_two(dcss, "name: G")
    (made,) = dcss.json("image", "build", config, "-o", "both.img")["images"]
    assert (made["segment"], made["address"], made["files"]) == ("M1:M2", 0x20000000, 3)
    image = dcss.home / "both.img"
    assert made["size_bytes"] == image.stat().st_size
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    found = subprocess.run(["debugfs", "-R", "cat /large1", image], check=True, capture_output=True).stdout
    assert found == (dcss.home / "split/large1").read_bytes()


def _listing_of_debugfs(image: Path, directory: str = "/") -> dict[str, tuple[str, int]]:
    """Return mode and size of all that lies below a directory of an image, by path."""
    listed = subprocess.run(["debugfs", "-R", f"ls -p {directory}", image], check=True, capture_output=True, text=True)
    found: dict[str, tuple[str, int]] = {}
    for line in listed.stdout.splitlines():
        if not line.startswith("/"):
            continue
        _, _, mode, _, _, name, size, _ = line.split("/")
        if name in {"", ".", ".."}:
            continue
        path = f"{directory.rstrip('/')}/{name}"
        found[path] = (mode[-4:], int(size or 0))
        if mode.startswith("04"):
            found |= _listing_of_debugfs(image, path)
    return found


@needs("e2fsck", "debugfs")
def test_what_is_exported_as_a_whole_is_what_the_guest_lists(dcss: Dcss) -> None:
    tree = _make_tree(dcss)
    (tree / "more").mkdir()
    for number in range(200):
        (tree / "more" / f"file{number:03}").write_bytes(bytes(number * 37))
    dcss("up", "-d", _over_two(dcss, f"name: G, {_MAPS.replace('at: /', 'at: /mnt').replace('/*', '/mnt/*')}"))
    for names in ("M1:M2", "m2:m1"):
        dcss("segment", "export", names, dcss.home / "both.img", "--system", dcss.system)
        image = dcss.home / "both.img"
        subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    listed = _listing_of_debugfs(image)
    assert len([path for path in listed if path.startswith("/more/")]) == 200
    found = {path.removeprefix("/mnt") for path in dcss("exec", "G", "--", "find", "/mnt").stdout.splitlines()}
    assert found - {""} == set(listed)
    for path in ("/large0", "/large1", "/more/file100"):
        content = subprocess.run(["debugfs", "-R", f"cat {path}", image], check=True, capture_output=True).stdout
        digest = dcss("exec", "G", "--", "sha256sum", f"/mnt{path}").stdout.split()[0]
        assert hashlib.sha256(content).hexdigest() == digest


@needs("frames")
def test_several_segments_are_imported_from_one_file(dcss: Dcss) -> None:
    _make_tree(dcss)
    dcss("run", _over_two(dcss, "name: G", more=", save: true"), status=1)
    image = dcss.home / "both.img"
    dcss("segment", "export", "M1:M2", image, "--system", dcss.system)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    dcss("segment", "purge", "--all", "--system", dcss.system)
    refused = dcss("segment", "import", image, "--name", "N1", "--system", dcss.system, status=2)
    assert "--name: found N1, wanted 2 names, with a colon between them, as M1:M2" in refused.stderr
    words = ("--name", "n1:n2", "--at", "0x30000000", "--system", dcss.system)
    imported = dcss.json("segment", "import", image, *words)["segments"]
    assert [(each["name"], each["ranges"][0]["first_page"]) for each in imported] == [("N1", 0x30000), ("N2", 0x30100)]
    dcss("segment", "export", "N1:N2", dcss.home / "again.img", "--system", dcss.system)
    assert hashlib.sha256((dcss.home / "again.img").read_bytes()).hexdigest() == digest
    guest = f'name: G, count: 2, dcssblk: ["N1:N2"], {_MAPS}'
    ran = dcss.json("run", dcss.config(guest, segment="  - {name: N1}\n  - {name: N2}"))
    assert _pages(ran["verify"]) == {"/large0": 200, "/large1": 200, "/small": 3}


@needs("frames")
def test_skeletons_are_saved_with_one_image(dcss: Dcss) -> None:
    _make_tree(dcss)
    system = ("--system", dcss.system)
    dcss("segment", "define", "M1", "20000-200FF SR", *system)
    refused = dcss("segment", "save", "M1:M2", "--image", dcss.home / "split", *system, status=1)
    assert "M2" in refused.stdout
    dcss("segment", "define", "M3", "20300-203FF SR", *system)
    apart = dcss("segment", "save", "M1:M3", "--image", dcss.home / "split", *system, status=2)
    assert "M1:M3: segment M3: found it at 0x20300000, wanted it at 0x20100000, where M1 ends" in apart.stderr
    dcss("segment", "define", "M2", "20100-202FF SR", *system)
    saved = dcss.json("segment", "save", "m2:m1", "--image", dcss.home / "split", *system)
    assert [(each["name"], each["saved"]) for each in saved["segments"]] == [("M1", True), ("M2", True)]
    guest = f'name: G, count: 2, dcssblk: ["M1:M2"], {_MAPS}'
    assert _pages(dcss.json("run", _plan(dcss, guest))["verify"]) == {"/large0": 200, "/large1": 200, "/small": 3}


@needs("frames", "e2fsck")
def test_a_guest_fills_two_segments_and_saves_them(dcss: Dcss) -> None:
    """The administrator's procedure: both are defined and saved empty; a guest makes a file system over them."""
    _make_tree(dcss)
    system = ("--system", dcss.system)
    for name, pages in (("M1", "20000-200FF"), ("M2", "20100-203FF")):
        dcss("segment", "define", name, pages, "SR", *system)
        dcss("segment", "save", name, *system)
    steps = (
        "mke2fs -b 4096 /dev/dcssblk1",
        "mount -t ext2 /dev/dcssblk1 /mnt",
        "cp /master/large0 /mnt/first",
        "cp /master/large1 /mnt/second",  # over the border: the first one leaves too little of M1
        "echo 1 > /sys/devices/dcssblk/M1/save",
        "umount /mnt",
    )
    run = ", ".join(f'{{exec: "{step}"}}' for step in steps)
    ran = dcss.json(
        "run",
        dcss.config(
            "name: ADMIN, privilege: EG, expect: nothing, dcssblk: [MASTER, 'M1:M2(local)'],"
            f" mounts: [{{device: dcssblk0, at: /master, options: [ro, xip]}}], run: [{run}]",
            f'name: G, count: 2, after: [ADMIN], dcssblk: ["M1:M2"], {_MAPS}',
            segment="  - {name: MASTER, at: 0x40000000, image: {directory: split}}\n  - {name: M1}\n  - {name: M2}",
        ),
    )
    assert ran["verify"]["verdict"] == "verified"
    assert _pages(ran["verify"]) == {"/first": 200, "/second": 200}
    assert {file["segment"] for file in ran["verify"]["files"]} == {"M1", "M1:M2"}
    image = dcss.home / "both.img"
    dcss("segment", "export", "M1:M2", image, *system)
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)


@needs("frames")
def test_new_versions_of_both_segments_are_one_device_beside_the_old_ones(dcss: Dcss) -> None:
    tree = _make_tree(dcss)
    dcss("up", "-d", _over_two(dcss, f"name: G, count: 2, {_MAPS}", more=", save: true"))
    (tree / "large0").rename(tree / "other0")
    (tree / "large1").rename(tree / "other1")
    image = dcss.home / "new.img"
    dcss("image", "build", tree, "-o", image, "--at", "0x20000000")
    content = image.read_bytes()
    for name, start, part in (("M1", "0x20000000", content[:MIB]), ("M2", "0x20100000", content[MIB:])):
        (dcss.home / name).write_bytes(part)
        dcss("segment", "import", dcss.home / name, "--name", name, "--at", start, "--as-is", "--system", dcss.system)
    dcss("guest", "restart", "G02", "--system", dcss.system)
    verified = dcss.json("verify", dcss.system)
    assert verified["verdict"] == "verified"
    old, new = ({f["path"]: f["segment"] for f in verified["files"] if f["guests"] == [g]} for g in ("G01", "G02"))
    assert set(old) == {"/large0", "/large1", "/small"}
    assert set(new) == {"/other0", "/other1", "/small"}
    assert "M1:M2" in new.values()
    assert any(re.fullmatch(r"M1\.\d{4}:M2\.\d{4}", segment) for segment in old.values())


def test_segments_that_do_not_adjoin_are_no_device(dcss: Dcss) -> None:
    _make_tree(dcss)
    segments = (
        "  - {name: M1, at: 0x20000000, size: 2M, save: true, image: {directory: split}}\n"
        "  - {name: M2, at: 0x20300000, size: 2M, save: true, image: {directory: split}}"
    )
    message = "found M2 at 0x20300000, wanted it at 0x20200000, where M1 ends"
    assert message in dcss("run", dcss.config('name: G, dcssblk: ["M1:M2"]', segment=segments), status=2).stderr
    dcss("run", dcss.config("name: G", segment=segments), status=1)  # nothing is mapped
    exported = dcss("segment", "export", "M1:M2", dcss.home / "both.img", "--system", dcss.system, status=2)
    assert "segment M2: found it at 0x20300000, wanted it at 0x20200000, where M1 ends" in exported.stderr
    assert not (dcss.home / "both.img").exists()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (("1M", "size: 256K, "), "4: segments[1].size: segment M1:M2: {image} needs 2097152 bytes, given are 1310720"),
        (
            ("4M", ""),
            "segments[1].image.continues: segment M2: found a file system of 2097152 bytes, which ends before",
        ),
        (("2M", "size: 1M, "), "segments[1].image.continues: segment M2: found a file system of 2097152 bytes, which"),
    ],
)
def test_an_image_that_does_not_fit_its_segments_is_refused(dcss: Dcss, sizes: tuple[str, str], message: str) -> None:
    image = _tree(dcss)
    first, second = sizes
    config = dcss.config(
        "name: G",
        segment=f"  - {{name: M1, at: 0x20000000, size: {first}, image: {{ext2: whole.img}}}}\n"
        f"  - {{name: M2, {second}image: {{continues: M1}}}}",
    )
    for command in ("config", "run"):
        assert message.format(image=image) in dcss(command, config, status=2).stderr


@needs("frames")
def test_a_half_alone_is_no_reason_to_lose_the_report(dcss: Dcss) -> None:
    _import_halves(dcss, _tree(dcss))
    path = dcss.config("name: G, dcssblk: [M1]", segment="  - {name: M1}")
    ran = dcss.json("run", path, status=1)  # nothing is mapped
    assert any("segment M1: /" in limit for limit in ran["verify"]["limits"])


@needs("frames", "debugfs")
def test_a_damaged_file_that_nobody_maps_leaves_the_verdict(dcss: Dcss) -> None:
    image = _tree(dcss)
    subprocess.run(["debugfs", "-w", "-R", "set_inode_field /small block[0] 999999999", image], check=True)
    segment = "  - {name: LIB, at: 0x20000000, image: {ext2: whole.img}}"
    mounts = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"
    ran = dcss.json("run", dcss.config(f'name: G, count: 2, {mounts}, run: [{{map: "/large0"}}]', segment=segment))
    assert ran["verify"]["verdict"] == "verified"
    assert _pages(ran["verify"]) == {"/large0": 200}
    # Beside what this user may not see.
    assert any(limit.startswith("segment LIB: /small: ") for limit in ran["verify"]["limits"])
