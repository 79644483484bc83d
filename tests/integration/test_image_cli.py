"""`dcss image` as a user runs it: exit status, one document of JSON, errors on one line, bytes untouched."""

import base64
import gzip
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_support import Dcss
from image_support import Read, digest, e2fsck_findings
from needs_support import needs


def dcss(*arguments: str | Path | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "dcss", "image", *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=300, **options)


def refused(done: subprocess.CompletedProcess[bytes], status: int = 2) -> str:
    assert done.returncode == status, done
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    return line


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "dir").mkdir(parents=True)
    (root / "dir/file").write_bytes(b"content\n" * 1000)
    (root / "big").write_bytes(os.urandom(3 << 20))
    (root / "link").symlink_to("dir/file")
    with (root / "sparse").open("wb") as file:
        file.seek(50_000)
        file.write(b"end")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff name")).write_bytes(b"odd")
    return root


@pytest.fixture
def image(tree: Path, tmp_path: Path) -> Path:
    done = dcss("build", tree, "-o", tmp_path / "x.img", "--at", "0x20000000")
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return tmp_path / "x.img"


def test_build_says_what_it_made(tree: Path, tmp_path: Path) -> None:
    done = dcss("build", tree, "-o", tmp_path / "new/x.img", "--size", "16M")
    assert done.stdout.decode() == f"{tmp_path}/new/x.img: 16.0 MiB, 4 files\n"
    assert (tmp_path / "new/x.img").stat().st_size == 16 << 20
    assert names(tmp_path / "new") == ["x.img"]
    done = dcss("build", tree, "-o", tmp_path / "y.img", "--json")
    ((made,),) = [json.loads(done.stdout)["images"]]
    assert made["path"] == str(tmp_path / "y.img")
    assert made["files"] == 4
    assert made["size_bytes"] == (tmp_path / "y.img").stat().st_size
    assert made["notes"] == []


@needs("e2fsck")
def test_a_tar_on_a_pipe_of_commands(tree: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-C", tree, "-czf", tmp_path / "t.tgz", "."], check=True)
    assert dcss("build", tmp_path / "t.tgz", "-o", tmp_path / "x.img").returncode == 0
    assert e2fsck_findings(tmp_path / "x.img") == []
    assert Read(tmp_path / "x.img").content[b"/\xff name"] == b"odd"


def test_a_configuration_builds_the_image_of_every_segment(tree: Path, tmp_path: Path) -> None:
    config = tmp_path / "system.yaml"
    segments = (
        f"  - {{name: ONE, at: 0x20000000, type: SR, image: {{directory: {tree}}}}}\n"
        f"  - {{name: TWO, define: ['30000-30FFF SR'], image: {{files: [{tree}/big]}}}}\n"
    )
    config.write_text(f"system: images\nsegments:\n{segments}guests: [{{name: A, dcssblk: [ONE]}}]\n")
    done = dcss("build", config, "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout)["images"]
    assert (one["segment"], one["address"]) == ("ONE", 0x20000000)
    assert (two["segment"], two["address"], two["size_bytes"]) == ("TWO", 0x30000000, 0x1000 * 4096)
    assert names(tmp_path / "out") == ["ONE.img", "TWO.img"]
    assert digest(Read(tmp_path / "out/TWO.img").content[os.fsencode(tree) + b"/big"]) == digest(tree / "big")
    line = refused(dcss("build", config, "-o", tmp_path / "out", "--at", "0"))
    assert "found --at, --size, --platform or --tag beside a configuration" in line


def test_build_refuses_on_one_line_and_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert "found nothing there" in refused(dcss("build", tmp_path / "gone", "-o", out / "x"))
    assert "is no tar, or is damaged" in refused(dcss("build", tree / "big", "-o", out / "x"))
    assert "found a directory, wanted the name" in refused(dcss("build", tree, "-o", out))
    assert f"lies in {tree}" in refused(dcss("build", tree, "-o", tree / "x"))
    assert "needs " in (line := refused(dcss("build", tree, "-o", out / "x", "--size", "1M")))
    assert "given are 1048576" in line
    assert "big/x cannot be written: " in refused(dcss("build", tree / "dir", "-o", tree / "big/x"))
    assert "wanted a size such as 64M" in refused(dcss("build", tree, "-o", out / "x", "--size", "12X"))
    assert names(out) == []


def test_an_image_that_was_there_is_replaced_whole_or_not_at_all(tree: Path, image: Path) -> None:
    before = digest(image)
    refused(dcss("build", tree, "-o", image, "--size", "8K"))
    assert digest(image) == before
    (tree / "more").write_bytes(b"m")
    assert dcss("build", tree, "-o", image).returncode == 0
    assert Read(image).content[b"/more"] == b"m"
    assert names(image.parent) == ["tree", "x.img"]


def test_ls(image: Path) -> None:
    assert dcss("ls", image).stdout == b"big\ndir\nlink\nlost+found\nsparse\n\xff name\n"
    assert dcss("ls", image, "/dir").stdout == b"file\n"
    assert dcss("ls", image, "/link").stdout == b"/link\n"
    assert dcss("ls", image, b"/\xff name").stdout == b"/\xff name\n"
    recursive = dcss("ls", image, "-R").stdout.splitlines()
    assert recursive == [b"big", b"dir", b"link", b"lost+found", b"sparse", b"\xff name", b"dir/file"]
    assert "/nope: No such file or directory" in refused(dcss("ls", image, "/nope"))


def test_ls_long_reads_as_ls_does(image: Path, tree: Path) -> None:
    lines = dcss("ls", "-l", image, env={**os.environ, "TZ": "UTC"}).stdout.splitlines()
    command = ["ls", "-lnU", "--time-style=long-iso", "--quoting-style=literal", "--show-control-chars", "big", "link"]
    wanted = subprocess.run(
        command, cwd=tree, capture_output=True, check=True, env={**os.environ, "TZ": "UTC"}
    ).stdout.splitlines()
    ours = {line.split()[7]: line.split() for line in lines}
    for line in wanted:
        words = line.split()
        if words[0] != b"total":
            assert ours[words[7]] == words
    assert ours[b"link"][-2:] == [b"->", b"dir/file"]
    dates = [re.search(rb" \d{4}-\d\d-\d\d ", line) for line in lines]
    assert len({date.start() if date else None for date in dates}) == 1


def test_ls_json(image: Path, tree: Path) -> None:
    document = json.loads(dcss("ls", image, "--json").stdout)
    entries = {entry["name"]: entry for entry in document["entries"]}
    assert entries["link"]["target"] == "dir/file"
    assert entries["link"]["type"] == "symlink"
    assert entries["big"]["size_bytes"] == 3 << 20
    assert entries["big"]["mtime"] == int((tree / "big").stat().st_mtime)
    assert entries["dir"]["mode"] == "0755"
    assert "\udcff name" in entries


def test_cat_streams_bytes(image: Path, tree: Path) -> None:
    for name in (b"big", b"sparse", b"dir/file", b"\xff name"):
        wanted = Path(os.fsdecode(os.fsencode(tree) + b"/" + name))
        assert digest(dcss("cat", image, b"/" + name).stdout) == digest(wanted)
    assert dcss("cat", image, "/link").stdout == (tree / "dir/file").read_bytes()
    document = json.loads(dcss("cat", image, "/big", "--json").stdout)
    assert digest(base64.b64decode(document["content_base64"])) == digest(tree / "big")
    assert document["size_bytes"] == 3 << 20
    assert "wanted a regular file" in refused(dcss("cat", image, "/dir"))
    assert "No such file" in refused(dcss("cat", image, "/gone"))


def test_cat_into_a_pipe_that_closes(image: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m dcss image cat {image} /big | head -c 10 | wc -c; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [b"10", b"141"]
    assert done.stderr == b""


def test_check_exit_statuses(image: Path, tmp_path: Path) -> None:
    done = dcss("check", image)
    assert done.returncode == 0
    assert done.stdout.startswith(os.fsencode(image) + b": clean, ")
    assert json.loads(dcss("check", image, "--json").stdout)["clean"] is True
    raw = bytearray(image.read_bytes())
    raw[1024 + 12] ^= 1  # s_free_blocks_count
    (tmp_path / "bad.img").write_bytes(raw)
    done = dcss("check", tmp_path / "bad.img")
    assert done.returncode == 1
    assert b"superblock: s_free_blocks_count: found" in done.stdout
    assert done.stdout.endswith(b"bad.img: damaged, 1 finding\n")
    document = json.loads(dcss("check", tmp_path / "bad.img", "--json").stdout)
    assert (document["clean"], document["findings"][0]["kind"]) == (False, "count")
    for content in (b"", b"text", bytes(1 << 16)):
        (tmp_path / "not.img").write_bytes(content)
        refused(dcss("check", tmp_path / "not.img"))
    assert "No such file" in refused(dcss("check", tmp_path / "gone"))
    assert "cannot be read as an image" in refused(dcss("check", tmp_path))


def test_a_damaged_image_is_status_3_for_ls_and_cat(image: Path, tmp_path: Path) -> None:
    raw = bytearray(image.read_bytes())
    at = raw.find(b"sparse") - 8
    raw[at + 4 : at + 6] = b"\0\0"
    image.write_bytes(raw)
    line = refused(dcss("ls", image), 3)
    assert "rec_len is smaller than minimal" in line


def test_map(image: Path) -> None:
    done = dcss("map", image, "--at", "0x20000000")
    text = done.stdout.decode(errors="surrogateescape")
    assert done.returncode == 0
    assert "0x000020000000 MM" in text
    assert re.search(r"6\d\.\d% of it in whole pages of 2 MiB", text)
    document = json.loads(dcss("map", image, "--at", "0x20000000", "--json").stdout)
    files = {file["path"]: file for file in document["files"]}
    assert (files["/big"]["mappings"], files["/big"]["aligned"], files["/big"]["huge_bytes"]) == (1, True, 2 << 20)
    assert files["/sparse"]["mappings"] == 2


def test_no_bar_in_a_pipe_and_one_on_a_terminal(tree: Path, tmp_path: Path) -> None:
    assert dcss("build", tree, "-o", tmp_path / "x.img").stderr == b""
    arguments = ("build", tree, "-o", tmp_path / "x.img")
    assert "build x.img" in on_terminal(*arguments, stream="stderr", TERM="xterm")


def on_terminal(*arguments: str | Path, stream: str = "stdout", **environment: str) -> str:
    """Return what a command shows on a terminal that is one of its streams, up to its end."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "dcss", "image", *arguments]
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, stream: slave}
    try:
        with subprocess.Popen(command, env={**os.environ, **environment}, **streams) as process:
            os.close(slave)
            shown = b""
            while chunk := _read_terminal(master):
                shown += chunk
        assert process.returncode == 0
    finally:
        os.close(master)
    return os.fsdecode(shown)


def _read_terminal(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # EIO: the last writer is gone
        return b""


def test_names_are_quoted_on_a_terminal_and_bytes_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/esc\x1b]0;title\x07").touch()
    (tmp_path / "tree/line\nbreak").symlink_to("\x1b[31mred")
    assert dcss("build", tmp_path / "tree", "-o", tmp_path / "x.img").returncode == 0
    shown = on_terminal("ls", tmp_path / "x.img")
    assert shown.split("\r\n")[:3] == [r"'esc'$'\033'']0;title'$'\a'", r"'line'$'\n''break'", "lost+found"]
    assert (
        on_terminal("ls", "-l", tmp_path / "x.img")
        .splitlines()[1]
        .endswith(r"'line'$'\n''break' -> ''$'\033''[31mred'")
    )
    assert dcss("ls", tmp_path / "x.img").stdout == b"esc\x1b]0;title\x07\nline\nbreak\nlost+found\n"


def test_a_file_system_at_an_offset(image: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(1 << 20) + image.read_bytes() + bytes(5000))
    for command in (["ls"], ["check"], ["map"], ["cat"]):
        path = ["/dir/file"] if command == ["cat"] else []
        message = refused(dcss(*command, disk, *path))
        found = f"{disk}: found an ext2 file system at byte 1048576, wanted an ext2 image"
        assert f"{found}: give image ls, cat, check or map --offset 1048576, " in message
        there = dcss(*command, disk, *path, "--offset", "1M")
        assert (there.returncode, there.stderr) == (0, b"")
        assert there.stdout == dcss(*command, image, *path).stdout.replace(bytes(image), bytes(disk))


@pytest.mark.parametrize("command", ["check", "map"])
def test_names_are_quoted_on_a_terminal(command: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a\033]0;x\a").write_bytes(b"content")
    image = tmp_path / "y\033]0;x\a.img"
    assert dcss("build", tmp_path / "tree", "-o", image).returncode == 0
    shown = on_terminal(command, image, PAGER="cat")
    assert "\033]" not in shown
    assert r"\033" in shown


def test_an_archive_from_a_pipe_and_from_a_file(dcss: Dcss) -> None:
    archive = dcss.home / "tree.tar"
    subprocess.run(["tar", "-C", dcss.home / "tree", "-cf", archive, "."], check=True)
    dcss("image", "build", archive, "-o", "wanted.img")
    with archive.open("rb") as file:
        dcss("image", "build", "-", "-o", "file.img", stdin=file)
    with subprocess.Popen(["cat", archive], stdout=subprocess.PIPE) as pipe:
        dcss("image", "build", "-", "-o", "pipe.img", stdin=pipe.stdout)
    wanted = (dcss.home / "wanted.img").read_bytes()
    assert (dcss.home / "file.img").read_bytes() == wanted
    assert (dcss.home / "pipe.img").read_bytes() == wanted
    done = dcss("image", "build", "-", "-o", "none.img", status=2)
    assert done.stderr.startswith("dcss: standard input is no tar: it is empty")
    assert not (dcss.home / "none.img").exists()


@pytest.mark.parametrize("piped", [True, False])
def test_an_image_and_something_else_from_a_pipe(dcss: Dcss, piped: bool) -> None:
    dcss("image", "build", "tree", "-o", "wanted.img")
    wanted = (dcss.home / "wanted.img").read_bytes()

    def built(content: bytes, status: int) -> str:
        (dcss.home / "content").write_bytes(content)
        command = ["cat" if piped else "true", dcss.home / "content"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as pipe, (dcss.home / "content").open("rb") as file:
            return dcss(
                "image", "build", "-", "-o", "made.img", stdin=pipe.stdout if piped else file, status=status
            ).stderr

    built(wanted, 0)
    assert (dcss.home / "made.img").read_bytes() == wanted
    for content, said in (
        (
            gzip.compress(wanted),
            "standard input: found gzip data, wanted an ext2 image: unpack it first: gunzip -k FILE",
        ),
        (b"QFI\xfb" + bytes(5000), "standard input: found a qcow2 disk image, wanted an ext2 image"),
        (
            bytes(1024) + b"x" * 2048,
            "standard input is no tar: found zeros and then up to",
        ),
    ):
        assert said in built(content, 2)


def test_an_image_is_written_to_a_file_alone(dcss: Dcss) -> None:
    done = dcss("image", "build", "tree", "-o", "-", status=2)
    assert done.stderr.startswith("-o: found -, wanted the name of a file")
    assert not (dcss.home / "-").exists()


def test_cat_of_a_directory_says_what_it_is(dcss: Dcss) -> None:
    dcss("image", "build", "tree", "-o", "x.img")
    done = dcss("image", "cat", "x.img", "/usr", status=2)
    assert done.stderr == "dcss: x.img: /usr: found a directory, wanted a regular file\n"
    assert max(map(len, dcss("image", "map", "x.img").stdout.splitlines())) <= 80


def test_platform_and_tag_are_for_container_images(dcss: Dcss) -> None:
    done = dcss("image", "build", "tree", "-o", "x.img", "--tag", "x", status=2)
    assert "found --platform or --tag, wanted these beside a container image only" in done.stderr
