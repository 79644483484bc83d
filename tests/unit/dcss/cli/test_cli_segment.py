"""`dcss segment` where no CP runs: each command is CP for as long as it takes, and the spool keeps what it did."""

import ctypes
import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

import pytest
from cp_support import objects_of, private_directories, unique_system
from needs_support import needs
from tree_support import mke2fs

from dcss.cli.main import main
from dcss.ext2.source import BufferSource
from dcss.image.files import image_files

Run = Callable[..., tuple[int, str, str]]
WORDS = b"some words\n" * 1000


@pytest.fixture(autouse=True)
def directories() -> Iterator[Path]:
    with private_directories() as path:
        yield path


@pytest.fixture
def system() -> Iterator[str]:
    name = unique_system("segment")
    yield name
    assert objects_of(name) == []


@pytest.fixture
def segment(capfd: pytest.CaptureFixture[str], system: str) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["segment", *map(str, arguments), "--system", system])
        return int(ended.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    (path / "usr/lib").mkdir(parents=True)
    (path / "usr/lib/libwords.so").write_bytes(WORDS)
    return path


def content(directories: Path, system: str, spid: int) -> bytes:
    return (directories / "xdg_state_home/dcss" / system / f"{spid:04d}.content").read_bytes()


def test_define_save_load_query_purge(segment: Run, tree: Path, directories: Path, system: str) -> None:
    assert segment("define", "lib", "20000-200FF SR", "--rstd", "--secure") == (
        0,
        "HCPNSD440I Saved segment LIB was successfully defined in fileid 0001.\n",
        "",
    )
    saved = "HCPNSS440I Saved segment LIB was successfully saved in fileid 0001.\n"
    assert segment("save", "LIB", "--image", tree) == (0, saved, "")
    (words,) = image_files(BufferSource(content(directories, system, 1))).files
    assert (words.path, words.size_bytes) == (b"/usr/lib/libwords.so", len(WORDS))
    assert segment("load", "lib") == (0, "LIB: file 0001, 1.0 MiB, content as saved\n", "")
    assert segment("query", "LIB")[1].splitlines()[1:] == [
        "0001 LIB      DCSS     N/A     20000  200FF  SR   R   00000 N/A      N/A"
    ]
    assert segment("query", "--users")[1].splitlines() == [
        "FILE FILENAME FILETYPE CL USERS",
        "0001 LIB      DCSS     R  00000",
    ]
    assert segment("query", "--attributes")[1].splitlines()[1] == "0001 LIB      DCSS     R  RSTD SECURE"
    assert segment("purge", "LIB") == (0, "0001 FILE  PURGED\n", "")
    assert segment("query") == (0, "NO NSS FILES\n", "")


def test_ranges_as_words_or_quoted(segment: Run) -> None:
    segment("define", "A", "30000-300FF EW", "30100-301FF EN", "--loadnshr")
    segment("define", "B", "40000-400ff", "sw")
    assert segment("query")[1].splitlines()[1:] == [
        "0001 A        DCSS     N/A     30000  300FF  EW   S   00000 N/A      N/A",
        "                               30100  301FF  EN",
        "0002 B        DCSS     N/A     40000  400FF  SW   S   00000 N/A      N/A",
    ]
    assert segment("purge", "--all") == (0, "0002 FILES PURGED\n", "")


def test_without_an_image_pages_are_zeros(segment: Run, directories: Path, system: str) -> None:
    segment("define", "LIB", "20000-20000 EW")
    assert segment("save", "LIB")[0] == 0
    assert content(directories, system, 1) == bytes(4096)


def test_a_tar_and_an_ext2_image_are_sources_too(
    segment: Run, tree: Path, tmp_path: Path, directories: Path, system: str
) -> None:
    with tarfile.open(tmp_path / "tree.tgz", "w:gz") as archive:
        archive.add(tree, ".")
    segment("define", "LIB", "20000-200FF SR")
    assert segment("save", "LIB", "--image", tmp_path / "tree.tgz")[0] == 0
    image = content(directories, system, 1)
    assert [each.path for each in image_files(BufferSource(image)).files] == [b"/usr/lib/libwords.so"]
    (tmp_path / "ready.img").write_bytes(image)
    segment("define", "LIB", "20000-201FF SR")
    assert segment("save", "LIB", "--image", tmp_path / "ready.img")[0] == 0
    assert content(directories, system, 2) == image + bytes(1 << 20)


@needs("mke2fs")
def test_an_image_of_mke2fs_is_a_source(
    segment: Run, tree: Path, tmp_path: Path, directories: Path, system: str
) -> None:
    mke2fs(tree, tmp_path / "image")
    segment("define", "LIB", "20000-20FFF SR")
    assert segment("save", "LIB", "--image", tmp_path / "image")[0] == 0
    assert content(directories, system, 1).startswith((tmp_path / "image").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("define", "LIB", "20000 SR"), "HCPCMD005E Invalid hexdata - 20000"),
        (("define", "LIB", "20000-2FFFF SR", "--loadnshr", "--rstd"), "HCPCMD013E Conflicting option - RSTD"),
        (("save", "LIB"), "HCPDCS9002E Saved segment LIB is not defined, or is saved already; DEFSEG it first"),
        (("save", "A.B", "--image", "."), "HCPCMD002E Invalid operand - A.B"),
        (
            ("save", "lib", "--image", "."),
            "HCPDCS9002E Saved segment LIB is not defined, or is saved already; DEFSEG it",
        ),
        (("load", "LIB"), "HCPDCS9003E System data file LIB does not exist"),
        (("query", "LIB"), "HCPDCS9003E System data file LIB does not exist"),
        (("purge", "LIB"), "HCPDCS9003E System data file LIB does not exist"),
        (("export", "LIB", "x.img"), "HCPDCS9003E System data file LIB does not exist"),
    ],
)
def test_what_cp_refuses_is_exit_1_with_its_message_on_stdout(
    segment: Run, arguments: tuple[str, ...], answer: str
) -> None:
    status, out, err = segment(*arguments)
    assert (status, err) == (1, "")
    assert out.startswith(answer)
    status, out, _ = segment(*arguments, "--json")
    assert status == 1
    assert json.loads(out)["lines"][0].startswith(answer)


def test_what_cp_suggests_comes_as_a_line_for_the_shell_too(segment: Run, tree: Path, system: str) -> None:
    named = f"LIB --image SRC --system {system}"
    assert segment("save", "LIB")[1].splitlines()[1:] == [
        f"in the shell: dcss segment define LIB RANGES... --system {system}"
    ]
    segment("define", "LIB", "20000-200FF SR")
    both = f"in the shell: dcss segment save {named}, or dcss segment purge LIB --system {system}"
    assert segment("define", "LIB", "20000-200FF SR")[1].splitlines()[1:] == [both]
    assert segment("load", "LIB")[1].splitlines()[1:] == [f"in the shell: dcss segment save {named}"]
    assert segment("save", "LIB", "--image", tree)[1].count("in the shell") == 0


def test_export_and_import_elsewhere(segment: Run, tree: Path, tmp_path: Path, directories: Path, system: str) -> None:
    segment("define", "LIB", "20000-200FF SR")
    segment("save", "LIB", "--image", tree)
    image = tmp_path / "lib.img"
    assert segment("export", "LIB", image) == (0, f"LIB: file 0001, 1.0 MiB, written to {image}\n", "")
    assert segment("import", image, "--name", "copy", "--at", "0x40000000")[0] == 0
    assert segment("query", "COPY")[1].splitlines()[1].split()[:8] == [
        "0002", "COPY", "DCSS", "N/A", "40000", "400FF", "SR", "A",
    ]  # fmt: skip
    assert content(directories, system, 1) == content(directories, system, 2)
    (row,) = json.loads(segment("import", image, "--json")[1])["segments"]
    assert (row["file"], row["name"], row["class"]) == (3, "LIB", "A")
    assert not (directories / "xdg_state_home/dcss" / system / "0001.content").exists()


def test_a_file_without_a_manifest_needs_its_name_and_place(segment: Run, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(WORDS)
    assert segment("import", plain, "--name", "LIB") == (
        2,
        "",
        f"{plain}: found no plain.manifest beside it, wanted that, or --name and --at\n",
    )
    assert segment("import", plain, "--name", "LIB", "--at", "512M", "--type", "ew")[0] == 0
    assert segment("query")[1].splitlines()[1] == (
        "0001 LIB      DCSS     N/A     20000  20002  EW   A   00000 N/A      N/A"
    )


@needs("mke2fs")
def test_what_has_to_be_unpacked_is_not_imported(segment: Run, tree: Path, tmp_path: Path) -> None:
    tar, packed, qcow2, disk = (tmp_path / name for name in ("x.tar", "x.gz", "x.qcow2", "my disk"))
    with tarfile.open(tar, "w") as made:
        made.add(tree, ".")
    packed.write_bytes(gzip.compress(WORDS))
    qcow2.write_bytes(b"QFI\xfb" + bytes(4096))
    (tmp_path / "fs").touch()
    subprocess.run(["mke2fs", "-q", "-t", "ext2", tmp_path / "fs", "256k"], check=True)
    file_system = (tmp_path / "fs").read_bytes()
    table = bytes(446) + pack("<B3xB3x2I", 0, 0x83, 2048, 512).ljust(64, b"\0") + b"\x55\xaa"
    disk.write_bytes(table.ljust(1 << 20, b"\0") + file_system)
    for file, found, advice in (
        (tar, "a tar", f"dcss image build {tar} -o IMG"),
        (packed, "gzip data", f"gunzip -k {packed}"),
        (qcow2, "a qcow2 disk image", "qemu-img convert -O raw"),
        (disk, "a partition table (MBR)", f"dd if='{disk}' of='{disk}.ext2' iflag=skip_bytes,count_bytes skip=1048576"),
    ):
        status, out, err = segment("import", file, "--name", "X", "--at", "1G")
        assert (status, out) == (2, "")
        assert err.startswith(f"{file}: found {found}, wanted a segment's content: ")
        assert advice in err
        assert err.endswith("; --as-is takes it as it is\n")
    command = re.search(r"dd .*count=\d+", err)
    assert command
    assert subprocess.run(["sh", "-c", command[0]], stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert segment("import", f"{disk}.ext2", "--name", "DISK", "--at", "1G")[0] == 0
    assert Path(f"{disk}.ext2").read_bytes() == file_system
    assert segment("import", packed, "--name", "PACKED", "--at", "1G", "--as-is")[0] == 0


def test_what_cannot_be_imported_is_an_error_and_changes_nothing(segment: Run, tmp_path: Path) -> None:
    segment("define", "LIB", "20000-20000 SR")
    segment("save", "LIB")
    image = tmp_path / "lib.img"
    segment("export", "LIB", image)
    for arguments, status, message in (
        ((image, "--at", "1000"), 2, "segment LIB: found address 0x3e8, wanted a multiple of 4096"),
        ((image, "--name", "much-too-long"), 2, "segment name 'MUCH-TOO-LONG': found 13 characters, wanted 1 to 8"),
        ((image, "--type", "SR"), 2, f"--type: found it beside {image}.manifest, which says the type; leave it out"),
        ((tmp_path / "none",), 2, f"{tmp_path}/none: found No such file or directory, wanted a file to import"),
    ):
        found, out, err = segment("import", *arguments)
        assert (found, out) == (status, "")
        assert message in err
        assert err.count("\n") == 1
    with image.open("r+b") as file:
        file.write(b"x")
    found, out, err = segment("import", image)
    assert (found, out) == (3, "")
    assert f"{image}: could not be imported: segment LIB: found content of digest" in err
    assert "as its manifest says; export it anew" in err
    for size_bytes in (0, 4095, 4097):
        os.truncate(image, size_bytes)
        assert segment("import", image) == (
            3,
            "",
            f"dcss: {image}: could not be imported: segment LIB: found {size_bytes} bytes, wanted the 4096 that were"
            " exported; export it anew\n",
        )
    manifest = Path(f"{image}.manifest")
    whole = manifest.read_bytes()
    os.truncate(image, 4096)
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1], whole.replace(b"SR", b"SW")):
        manifest.write_bytes(damaged)
        found, out, err = segment("import", image)
        assert (found, out) == (3, "")
        assert err.startswith(f"dcss: {manifest}: not a manifest of an exported segment: ")
    assert segment("import", tmp_path, "--name", "DIR", "--at", "1G") == (
        2,
        "",
        f"{tmp_path}: found no regular file, wanted one to import; a directory becomes an image by save\n",
    )
    assert [line.split()[0] for line in segment("query")[1].splitlines()[1:]] == ["0001"]


def test_an_image_that_does_not_fit_is_exit_2_and_the_skeleton_stays(segment: Run, tree: Path, tmp_path: Path) -> None:
    segment("define", "LIB", "20000-20003 SR")
    status, out, err = segment("save", "LIB", "--image", tree)
    assert (status, out) == (2, "")
    assert "given are 16384" in err or "needs" in err
    for source in (tmp_path / "none", Path("/dev/null")):
        assert segment("save", "LIB", "--image", source)[0] == 2
    assert segment("query")[1].splitlines()[1].split()[7] == "S"


def test_purge_wants_a_name_or_all(segment: Run) -> None:
    for arguments in (("purge",), ("purge", "LIB", "--all")):
        status, out, err = segment(*arguments)
        assert (status, out) == (2, "")
        assert "wanted a NAME, or --all." in err


def test_damaged_content_is_found_set_aside_and_never_served(segment: Run, directories: Path, system: str) -> None:
    segment("define", "LIB", "20000-20000 SR")
    segment("save", "LIB")
    spool = directories / "xdg_state_home/dcss" / system
    (spool / "0001.content").write_bytes(b"x" * 4096)
    status, out, err = segment("load", "LIB")
    assert (status, out) == (3, "")
    assert "segment LIB: its content has digest" in err
    assert "it was set aside and is not served" in err
    assert sorted(os.listdir(spool / "damaged")) == ["0001.content.1", "0001.manifest.1"]  # noqa: PTH208
    assert segment("query")[1] == "NO NSS FILES\n"


def test_damaged_content_is_not_exported_but_set_aside(
    segment: Run, directories: Path, tmp_path: Path, system: str
) -> None:
    segment("define", "LIB", "20000-20000 SR")
    segment("save", "LIB")
    spool = directories / "xdg_state_home/dcss" / system
    (spool / "0001.content").write_bytes(b"x" * 4096)
    status, out, err = segment("export", "LIB", tmp_path / "lib.img")
    assert (status, out) == (3, "")
    assert "warning: spool file 0001 is damaged: its content has digest" in err
    assert "it was set aside and is not served" in err
    assert list(tmp_path.iterdir()) == []
    assert sorted(os.listdir(spool / "damaged")) == ["0001.content.1", "0001.manifest.1"]  # noqa: PTH208
    assert segment("query")[1] == "NO NSS FILES\n"


@pytest.fixture
def small_disk(directories: Path) -> Iterator[Path]:
    """Have the spool on a file system of 3 MiB."""
    libc = ctypes.CDLL(None, use_errno=True)
    disk = directories / "xdg_state_home"
    if libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=3m,mode=700"):
        pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    yield disk
    libc.umount2(os.fsencode(disk), 0)


@needs("root")
def test_a_disk_that_cannot_be_written_is_an_error_and_nothing_damaged_is_served(
    segment: Run, small_disk: Path, tmp_path: Path, system: str
) -> None:
    for name in ("LIB", "BAD"):
        segment("define", name, "20000-20000 SR")
        segment("save", name)
    spool = small_disk / "dcss" / system
    (spool / "0002.content").write_bytes(b"x" * 4096)
    remount_read_only = 1 | 32
    assert ctypes.CDLL(None).mount(b"none", os.fsencode(small_disk), None, remount_read_only, None) == 0
    status, out, err = segment("define", "NEW", "20000-20000 SR")
    assert (status, err) == (3, "")
    assert out.startswith("HCPDCS9004E segment NEW: ")
    assert f"wanted {spool} writable by user {os.geteuid()}: mend that, or set XDG_STATE_HOME" in out
    assert segment("purge", "LIB")[0] == 3
    assert segment("load", "LIB")[0] == 0
    for arguments in (("load", "BAD"), ("export", "BAD", tmp_path / "bad.img")):
        status, out, err = segment(*arguments)
        assert (status, out) == (3, "")
        assert re.search(
            r"warning: spool file 0002 is damaged: its content .*; it could not be set aside: .*Read-only", err
        )
    assert list(tmp_path.iterdir()) == []


@needs("root")
def test_a_full_disk_leaves_all_as_it_was(
    segment: Run, small_disk: Path, tree: Path, tmp_path: Path, system: str
) -> None:
    segment("define", "LIB", "20000-200FF SR")
    segment("save", "LIB", "--image", tree)
    segment("define", "LIB", "20000-203FF SR")
    (tmp_path / "big").write_bytes(bytes(4 << 20))
    spool = small_disk / "dcss" / system
    before = {path.name: path.stat().st_size for path in spool.iterdir()}
    for arguments, status in (
        (("save", "LIB", "--image", tree), 3),
        (("import", tmp_path / "big", "--name", "BIG", "--at", "1G"), 3),
        (("import", tmp_path / "big", "--name", "LIB", "--at", "1G"), 3),
    ):
        found, out, err = segment(*arguments)
        assert found == status
        assert "No space left on device" in err
        assert re.search(rf"found [0-9]+ bytes free in {spool}: make room there, or purge segments", err)
        assert {path.name: path.stat().st_size for path in spool.iterdir()} == before
    assert segment("load", "LIB") == (0, "LIB: file 0001, 1.0 MiB, content as saved\n", "")
    segment("define", "BIG", "60000-603FF SR")
    for name, words in {"BIG": ["save", "BIG"], "MORE": ["define", "MORE", "60000-603FF SR"]}.items():
        status, out, err = segment(*words)  # a command of CP, which answers in its own form
        assert (status, err) == (3, "")
        assert out.startswith(f"HCPDCS9004E segment {name}: ")
        assert "No space left on device" in out
        assert segment("query")[1].splitlines()[-1].split()[7] == "S"
        filler = small_disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free))
    filler.unlink()
    full = small_disk / "x.img"
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 8192))  # zeros are not exported
    found, out, err = segment("export", "LIB", full)
    assert (found, out) == (3, "")
    assert "could not be exported" in err
    assert sorted(path.name for path in small_disk.iterdir()) == ["dcss", "filler"]
