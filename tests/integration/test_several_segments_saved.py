"""Saved segments that hold one file system: saved, filled by a guest, exported, imported, replaced together."""

import hashlib
import re
import subprocess
from pathlib import Path

from cli_support import Dcss
from needs_support import needs
from two_segments_support import (
    MAPS,
    MIB,
    make_split_tree,
    over_two,
    saved_config,
    shared_pages,
)


@needs("frames")
def test_saved_segments_are_used_again_as_one_device(dcss: Dcss) -> None:
    make_split_tree(dcss)
    guest = f'name: G, count: 2, dcssblk: ["M1:M2"], {MAPS}'
    saving = over_two(dcss, guest, more=", save: true")
    assert dcss.json("run", saving)["verify"]["verdict"] == "verified"
    files = dcss.json("segment", "query", "--system", dcss.system)["segments"]
    assert [(file["name"], file["saved"]) for file in files] == [("M1", True), ("M2", True)]
    dcss("run", saving)  # the same content: nothing is saved again
    assert dcss.json("segment", "query", "--system", dcss.system)["segments"] == files
    ran = dcss.json("run", saved_config(dcss, guest))
    assert ran["verify"]["verdict"] == "verified"
    assert shared_pages(ran["verify"]) == {"/large0": 200, "/large1": 200, "/small": 3}


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
    tree = make_split_tree(dcss)
    (tree / "more").mkdir()
    for number in range(200):
        (tree / "more" / f"file{number:03}").write_bytes(bytes(number * 37))
    dcss("up", "-d", over_two(dcss, f"name: G, {MAPS.replace('at: /', 'at: /mnt').replace('/*', '/mnt/*')}"))
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
    make_split_tree(dcss)
    dcss("run", over_two(dcss, "name: G", more=", save: true"), status=1)
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
    guest = f'name: G, count: 2, dcssblk: ["N1:N2"], {MAPS}'
    ran = dcss.json("run", dcss.config(guest, segment="  - {name: N1}\n  - {name: N2}"))
    assert shared_pages(ran["verify"]) == {"/large0": 200, "/large1": 200, "/small": 3}


@needs("frames")
def test_skeletons_are_saved_with_one_image(dcss: Dcss) -> None:
    make_split_tree(dcss)
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
    guest = f'name: G, count: 2, dcssblk: ["M1:M2"], {MAPS}'
    assert shared_pages(dcss.json("run", saved_config(dcss, guest))["verify"]) == {
        "/large0": 200,
        "/large1": 200,
        "/small": 3,
    }


@needs("frames", "e2fsck")
def test_a_guest_fills_two_segments_and_saves_them(dcss: Dcss) -> None:
    """The administrator's procedure: both are defined and saved empty; a guest makes a file system over them."""
    make_split_tree(dcss)
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
            f'name: G, count: 2, after: [ADMIN], dcssblk: ["M1:M2"], {MAPS}',
            segment="  - {name: MASTER, at: 0x40000000, image: {directory: split}}\n  - {name: M1}\n  - {name: M2}",
        ),
    )
    assert ran["verify"]["verdict"] == "verified"
    assert shared_pages(ran["verify"]) == {"/first": 200, "/second": 200}
    assert {file["segment"] for file in ran["verify"]["files"]} == {"M1", "M1:M2"}
    image = dcss.home / "both.img"
    dcss("segment", "export", "M1:M2", image, *system)
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)


@needs("frames")
def test_new_versions_of_both_segments_are_one_device_beside_the_old_ones(dcss: Dcss) -> None:
    tree = make_split_tree(dcss)
    dcss("up", "-d", over_two(dcss, f"name: G, count: 2, {MAPS}", more=", save: true"))
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
