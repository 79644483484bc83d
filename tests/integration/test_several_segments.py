"""One file system over segments that adjoin: verdict, accounts and files treat them as one device."""

import hashlib
import shutil
import subprocess

import pytest
from cli_support import Dcss
from needs_support import needs
from two_segments_support import (
    MAPS,
    import_halves,
    make_split_image,
    make_split_tree,
    over_two,
    saved_config,
    shared_pages,
)

from dcss.abi.page import PAGE_SIZE


@needs("frames")
@pytest.mark.parametrize("device", ["M1:M2", "M2:M1"])
def test_a_file_in_two_segments_is_one_file(dcss: Dcss, device: str) -> None:
    import_halves(dcss, make_split_image(dcss))
    ran = dcss.json("run", saved_config(dcss, f'name: G, count: 2, dcssblk: ["{device}"], {MAPS}'))
    assert ran["verify"]["verdict"] == "verified"
    pages = shared_pages(ran["verify"])
    assert pages == {"/large0": 200, "/large1": 200, "/small": 3}
    assert "M1:M2" in {file["segment"] for file in ran["verify"]["files"]}
    assert "403 pages of 3 files, mapped by 2 guests" in ran["verify"]["claims"][0]["detail"]
    assert [guest["guest"]["xip_bytes"] for guest in ran["measure"]["guests"]] == [403 * PAGE_SIZE] * 2


@needs("frames")
@pytest.mark.parametrize("source", ["directory: split", "tar: split.tar.gz", "ext2: whole.img"])
def test_one_image_lies_over_two_segments(dcss: Dcss, source: str) -> None:
    make_split_image(dcss)
    shutil.make_archive(str(dcss.home / "split"), "gztar", dcss.home / "split")
    ran = dcss.json("run", over_two(dcss, f"name: G, count: 2, {MAPS}", source=source))
    assert ran["verify"]["verdict"] == "verified"
    assert shared_pages(ran["verify"]) == {"/large0": 200, "/large1": 200, "/small": 3}
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
    tree = make_split_tree(dcss)
    mounts = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}, {device: dcssblk0, at: /copied, options: [ro]}]"
    (tree / "copied").mkdir()
    dcss("up", "-d", over_two(dcss, f"name: G, {mounts}"))
    for name in ("large0", "large1", "small"):
        digest = hashlib.sha256((tree / name).read_bytes()).hexdigest()
        for path in (f"/{name}", f"/copied/{name}"):  # in place, and through the page cache
            assert dcss("exec", "G", "--", "sha256sum", path).stdout.split()[0] == digest


def test_every_way_to_file_bytes_leads_over_the_border(dcss: Dcss) -> None:
    tree = make_split_tree(dcss)
    modes = ("xip", "page-cache", "ramdisk", "mtd")
    mount = "device: dcssblk0, at: /mnt, options: [ro]"
    dcss("up", "-d", over_two(dcss, *(f"name: G{n}, mounts: [{{{mount}, mode: {m}}}]" for n, m in enumerate(modes))))
    for number in range(len(modes)):
        for name in ("large0", "large1"):
            read = dcss("exec", f"G{number}", "--", "sha256sum", f"/mnt/{name}").stdout.split()[0]
            assert read == hashlib.sha256((tree / name).read_bytes()).hexdigest()


def test_config_shows_what_the_image_over_both_holds(dcss: Dcss) -> None:
    make_split_tree(dcss)
    shown = dcss.json("config", over_two(dcss, f"name: G, {MAPS}"))
    assert [(each["name"], each["files"]) for each in shown["segments"]] == [("M1", 3), ("M2", None)]
    assert shown["segments"][1]["content"] == "continues M1"
    assert [each["in_place"] for each in shown["segments"]] == [["G"], ["G"]]
    (guest,) = shown["guests"]
    assert guest["segments"] == ["M1:M2"]
    assert [step["files"] for step in guest["steps"]] == [3]


def test_config_shows_patterns_beside_the_first_segment_alone(dcss: Dcss) -> None:
    make_split_tree(dcss)
    shown = dcss.json("config", over_two(dcss, "name: G", source='files: ["split/*"]'))
    found = [[(each["pattern"].rpartition("/")[2], each["files"]) for each in s["patterns"]] for s in shown["segments"]]
    assert found == [[("*", 3)], []]


@needs("e2fsck", "debugfs")
def test_image_build_makes_the_whole_image_of_a_configuration(dcss: Dcss) -> None:
    make_split_tree(dcss)
    config = over_two(dcss, "name: G")
    (made,) = dcss.json("image", "build", config, "-o", "both.img")["images"]
    assert (made["segment"], made["address"], made["files"]) == ("M1:M2", 0x20000000, 3)
    image = dcss.home / "both.img"
    assert made["size_bytes"] == image.stat().st_size
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    found = subprocess.run(["debugfs", "-R", "cat /large1", image], check=True, capture_output=True).stdout
    assert found == (dcss.home / "split/large1").read_bytes()


def test_segments_that_do_not_adjoin_are_no_device(dcss: Dcss) -> None:
    make_split_tree(dcss)
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
    image = make_split_image(dcss)
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
    import_halves(dcss, make_split_image(dcss))
    path = dcss.config("name: G, dcssblk: [M1]", segment="  - {name: M1}")
    ran = dcss.json("run", path, status=1)  # nothing is mapped
    assert any("segment M1: /" in limit for limit in ran["verify"]["limits"])


@needs("frames", "debugfs")
def test_a_damaged_file_that_nobody_maps_leaves_the_verdict(dcss: Dcss) -> None:
    image = make_split_image(dcss)
    subprocess.run(["debugfs", "-w", "-R", "set_inode_field /small block[0] 999999999", image], check=True)
    segment = "  - {name: LIB, at: 0x20000000, image: {ext2: whole.img}}"
    mounts = "mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]"
    ran = dcss.json("run", dcss.config(f'name: G, count: 2, {mounts}, run: [{{map: "/large0"}}]', segment=segment))
    assert ran["verify"]["verdict"] == "verified"
    assert shared_pages(ran["verify"]) == {"/large0": 200}
    # Beside what this user may not see.
    assert any(limit.startswith("segment LIB: /small: ") for limit in ran["verify"]["limits"])
