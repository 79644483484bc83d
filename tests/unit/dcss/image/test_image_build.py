import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from image_support import Read, build, digest, run_tool
from needs_support import needs

from dcss.config.sources import DirectorySource, Ext2Source, FilesSource
from dcss.errors import ImageError
from dcss.image.build import plan_image


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "sub/small").write_bytes(b"small")
    (root / "large").write_bytes(bytes(range(256)) * 6000)
    (root / "link").symlink_to("sub/small")
    (root / "long").symlink_to("x" * 60)
    return root


def test_the_plan_tells_size_and_counts_before_anything_is_written(tree: Path, tmp_path: Path) -> None:
    plan = plan_image(DirectorySource(tree))
    assert plan.size_bytes % 4096 == 0
    assert (plan.files, plan.left_out, plan.content_bytes, plan.notes) == (2, 0, 5 + 256 * 6000, ())
    build(tree, tmp_path / "x.img")
    read = Read(tmp_path / "x.img")
    assert read.content[b"/sub/small"] == b"small"
    assert digest(read.content[b"/large"]) == digest(bytes(range(256)) * 6000)
    assert read.targets == {b"/link": b"sub/small", b"/long": b"x" * 60}
    assert read.inodes[b"/lost+found"].number == 11
    assert read.inodes[b"/lost+found"].size_bytes == 16384


def test_a_given_size_is_covered_and_one_too_small_tells_what_is_needed(tree: Path, tmp_path: Path) -> None:
    needed = plan_image(DirectorySource(tree)).size_bytes
    build(tree, tmp_path / "x.img", size_bytes=needed + (16 << 20))
    assert Read(tmp_path / "x.img").superblock.s_blocks_count == (needed + (16 << 20)) // 4096
    assert build(tree, tmp_path / "y.img", size_bytes=needed).size_bytes == needed
    with pytest.raises(ImageError, match=r"needs \d+ bytes, given are 65536; give it more") as caught:
        plan_image(DirectorySource(tree), size_bytes=65536)
    crowded = int(str(caught.value).split()[3])
    plan = build(tree, tmp_path / "z.img", size_bytes=crowded)
    assert (crowded < needed, plan.size_bytes) == (True, crowded)
    assert plan.notes == (
        "the size leaves no room to align all data of 1 MiB or more for huge pages: 1 are not,"
        f" wanted {needed} bytes for that",
    )
    with pytest.raises(ImageError, match=f"needs {crowded} bytes, given are {crowded - 4096}; give it more"):
        plan_image(DirectorySource(tree), size_bytes=crowded - 4096)


def test_an_address_that_huge_pages_cannot_map_is_noted(tree: Path) -> None:
    assert plan_image(DirectorySource(tree), address=3 << 21).notes == ()
    (note,) = plan_image(DirectorySource(tree), address=0x20100000).notes
    assert note == "address 0x20100000 is no multiple of 2 MiB: huge pages cannot map anything of a segment there"


@pytest.mark.parametrize(("name", "value"), [("address", 4095), ("address", -4096), ("size", 5000), ("size", -4096)])
def test_odd_addresses_and_sizes_are_refused(tree: Path, name: str, value: int) -> None:
    option = "size_bytes" if name == "size" else name
    with pytest.raises(ImageError, match=f"{name} {value:#x}: wanted a multiple of 4096"):
        plan_image(DirectorySource(tree), **{option: value})


def test_progress_adds_up_to_the_content(tree: Path, tmp_path: Path) -> None:
    (tree / "more").write_bytes(b"m" * (20 << 20))  # enough for two threads
    plan = plan_image(DirectorySource(tree))
    told: list[int] = []
    with (tmp_path / "x.img").open("w+b") as out:
        plan.write(out.fileno(), told.append)
    assert sum(told) == plan.content_bytes
    assert len(told) > 10


def test_what_the_file_held_before_is_gone(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path / "clean.img", size_bytes=8 << 20)
    (tmp_path / "used.img").write_bytes(b"\xff" * (9 << 20))
    build(tree, tmp_path / "used.img", size_bytes=8 << 20)
    assert digest(tmp_path / "used.img") == digest(tmp_path / "clean.img")


def test_it_may_have_its_size_already(tree: Path, tmp_path: Path) -> None:
    plan = plan_image(DirectorySource(tree))
    with (tmp_path / "x.img").open("w+b") as out:
        os.ftruncate(out.fileno(), plan.size_bytes)
        plan.write(out.fileno())
    assert Read(tmp_path / "x.img").content[b"/sub/small"] == b"small"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_source_that_changed_leaves_no_image(tree: Path, tmp_path: Path, threads: int) -> None:
    if threads == 2:
        (tree / "more").write_bytes(b"m" * (20 << 20))
    for victim in ("sub/small", "large"):
        plan = plan_image(DirectorySource(tree))
        with (tree / victim).open("ab") as file:
            file.write(b"!")
        with (tmp_path / "x.img").open("w+b") as out, pytest.raises(ImageError, match=f"{victim} changed while"):
            plan.write(out.fileno())
        assert (tmp_path / "x.img").read_bytes()[1024:2048] == bytes(1024)


def test_no_image_into_what_is_no_file(tree: Path) -> None:
    plan = plan_image(DirectorySource(tree))
    reader, writer = os.pipe()
    try:
        with pytest.raises(ImageError, match="found a device or pipe, wanted a regular file or shared memory"):
            plan.write(writer)
    finally:
        os.close(reader)
        os.close(writer)
    with (tree / "large").open("rb") as read_only, pytest.raises(ImageError, match="the image cannot be"):
        plan.write(read_only.fileno())
    assert (tree / "large").stat().st_size == 256 * 6000


def test_the_same_input_gives_the_same_bytes_in_any_order_and_place(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    copy.mkdir(parents=True)
    for name in ("long", "large", "link", "sub"):  # another order of creation
        source = tree / name
        if source.is_symlink():
            (copy / name).symlink_to(source.readlink())
        elif source.is_dir():
            (copy / name).mkdir()
            (copy / name / "small").write_bytes(b"small")
        else:
            (copy / name).write_bytes(source.read_bytes())
    for root in (tree, copy):
        for path in [root, *root.rglob("*")]:
            os.utime(path, ns=(0, 10**18), follow_symlinks=False)
    images = []
    for number, root in enumerate((tree, copy)):
        build(root, tmp_path / f"{number}.img")
        images.append(digest(tmp_path / f"{number}.img"))
    assert images[0] == images[1]


def test_another_content_gets_another_uuid(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path / "x.img")
    first = Read(tmp_path / "x.img").superblock
    (tree / "new").write_bytes(b"")
    build(tree, tmp_path / "x.img")
    second = Read(tmp_path / "x.img").superblock
    assert first.s_uuid != second.s_uuid
    assert first.s_uuid[6] >> 4 == 8
    assert first.s_uuid[8] >> 6 == 2
    assert (first.s_mtime, first.s_wtime, first.s_lastcheck) == (0, 0, 0)


def test_times_beyond_ext2_are_moved_to_its_edge_and_told(tree: Path, tmp_path: Path) -> None:
    os.utime(tree / "sub/small", (2**33, 2**33))
    os.utime(tree / "large", (0, -5))
    plan = build(tree, tmp_path / "x.img")
    read = Read(tmp_path / "x.img")
    assert read.inodes[b"/sub/small"].mtime == 2**31 - 1
    assert read.inodes[b"/large"].mtime == read.inodes[b"/large"].atime == -5
    assert plan.notes == ("1 times lie outside of ext2's 1901 to 2038 and were moved to its edge, first /sub/small",)


def test_lost_and_found_of_the_source_is_the_images(tree: Path, tmp_path: Path) -> None:
    (tree / "lost+found").mkdir(mode=0o750)
    (tree / "lost+found/#12").write_bytes(b"found")
    build(tree, tmp_path / "x.img")
    read = Read(tmp_path / "x.img")
    assert read.inodes[b"/lost+found"].number == 11
    assert read.inodes[b"/lost+found"].mode == 0o40750
    assert read.content[b"/lost+found/#12"] == b"found"
    (tree / "lost+found/#12").unlink()
    (tree / "lost+found").rmdir()
    (tree / "lost+found").write_bytes(b"")
    with pytest.raises(ImageError, match=r"/lost\+found is no directory"):
        plan_image(DirectorySource(tree))


def test_files_of_this_host_keep_their_paths(tree: Path, tmp_path: Path) -> None:
    plan = build(FilesSource((f"{tree}/**/small", f"{tree}/large"), max_bytes=1000), tmp_path / "x.img")
    assert (plan.files, plan.left_out) == (1, 1)
    assert Read(tmp_path / "x.img").content == {os.fsencode(tree) + b"/sub/small": b"small"}


def test_a_ready_image_is_taken_as_it_is(tree: Path, tmp_path: Path) -> None:
    build(tree, tmp_path / "x.img")
    with (tmp_path / "x.img").open("ab") as file:
        file.write(b"tail")
    plan = build(Ext2Source(tmp_path / "x.img"), tmp_path / "y.img")
    assert plan.files is None
    original = (tmp_path / "x.img").read_bytes()
    assert digest(tmp_path / "y.img") == digest(original.ljust(plan.size_bytes, b"\0"))
    build(Ext2Source(tmp_path / "x.img"), tmp_path / "z.img", size_bytes=16 << 20)
    assert digest(tmp_path / "z.img") == digest(original.ljust(16 << 20, b"\0"))
    with pytest.raises(ImageError, match=f"needs {plan.size_bytes} bytes, given are 4096"):
        plan_image(Ext2Source(tmp_path / "x.img"), size_bytes=4096)
    with pytest.raises(ImageError, match="small: magic missing at offset 1080, wanted ef53"):
        plan_image(Ext2Source(tree / "sub/small"))
    with pytest.raises(ImageError, match="large: magic 3938 at offset 1080"):
        plan_image(Ext2Source(tree / "large"))


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    script = (
        "import os, sys; from pathlib import Path; from dcss.config.sources import DirectorySource\n"
        "from dcss.image.build import plan_image\n"
        "fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT); plan_image(DirectorySource(Path(sys.argv[1]))).write(fd)\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    peaks_kib = []
    for size_mib in (8, 128):
        with (tmp_path / "tree/file").open("wb") as file:
            for _ in range(size_mib):
                file.write(b"x" * (1 << 20))
        command: list[str | Path] = [sys.executable, "-c", script, tmp_path / "tree", tmp_path / f"{size_mib}.img"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert (tmp_path / f"{size_mib}.img").stat().st_size > size_mib << 20
        peaks_kib.append(int(done.stdout))
    assert peaks_kib[1] - peaks_kib[0] < 6 << 10


@needs("mke2fs")
def test_a_ready_image_that_was_cut_short_is_refused_as_the_kernel_does(tmp_path: Path) -> None:
    image = tmp_path / "ready.img"
    run_tool("mke2fs", "-q", "-b", "4096", image, "4M")
    assert plan_image(Ext2Source(image)).size_bytes == 4 << 20
    os.truncate(image, 2 << 20)
    wanted = f"{image}: bad geometry: block count 1024 exceeds size of device (512 blocks): the image was cut short"
    with pytest.raises(ImageError, match=re.escape(wanted)):
        plan_image(Ext2Source(image))


def test_a_file_that_cannot_be_written_is_an_error_that_says_why(tree: Path, tmp_path: Path) -> None:
    plan = plan_image(DirectorySource(tree))
    (tmp_path / "x.img").touch()
    descriptor = os.open(tmp_path / "x.img", os.O_RDONLY)
    try:
        with pytest.raises(
            ImageError, match=f"the image cannot be given its {plan.size_bytes} bytes: Invalid argument"
        ):
            plan.write(descriptor)
    finally:
        os.close(descriptor)
