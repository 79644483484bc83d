"""Our image builder against mke2fs -d, in one run: time, memory, and what the layouts are worth.

A tree of about 200 MiB is copied from /usr/lib into shared memory; every maker writes its image there too. Three are
timed in turn: `mke2fs -d`, `dcss image build` (a whole process, interpreter included) and the builder alone, as a
running CP uses it. The first round is discarded: memory that the machine never used before is slow to get. Bytecode is
written first, as an installation does.

    python benchmarks/image_build.py [ROUNDS [MEBIBYTES]]
"""

import compileall
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = 0x20000000
HUGE_BYTES = 2 << 20
MAP_FIXED = 0x10

BUILDER = """
import json, os, sys, time
from pathlib import Path
from dcss.config.sources import DirectorySource
from dcss.image.build import plan_image
for line in sys.stdin:
    began = time.perf_counter()
    plan = plan_image(DirectorySource(Path(sys.argv[1])), address=int(sys.argv[3]))
    planned = time.perf_counter()
    with open(sys.argv[2], "w+b") as out:
        plan.write(out.fileno())
    print(json.dumps([planned - began, time.perf_counter() - planned]), flush=True)
"""


def copy_tree(target: Path, limit_bytes: int) -> tuple[int, int]:
    """Copy from /usr/lib, in order of path, what fits; return files and bytes."""
    files = size_bytes = 0
    for directory, names, entries in os.walk("/usr/lib"):
        names.sort()
        for name in sorted(entries):
            path = Path(directory, name)
            length = path.lstat().st_size if path.is_file() or path.is_symlink() else limit_bytes + 1
            if length > limit_bytes // 4 or size_bytes + length > limit_bytes:
                continue
            copy = target / path.relative_to("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy, follow_symlinks=False)
            files, size_bytes = files + 1, size_bytes + length
    return files, size_bytes


def timed(command: list[str | Path], environment: dict[str, str]) -> tuple[float, float]:
    """Return seconds of wall clock and of CPU that a command takes."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds, after = time.perf_counter() - began, os.times()
    return seconds, after.children_user + after.children_system - before.children_user - before.children_system


def layout(image: Path) -> dict[str, float]:
    """Return what `dcss image map` says of an image, in sums."""
    command: list[str | Path] = [sys.executable, "-m", "dcss", "image", "map", image, "--at", hex(ADDRESS), "--json"]
    mapped = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    files = [file for file in mapped["files"] if file["runs"]]
    large = [file for file in files if file["size_bytes"] >= 1 << 20]
    return {
        "files": len(files),
        "runs": sum(len(file["runs"]) for file in files),
        "mappings": sum(file["mappings"] for file in files),
        "large files": len(large),
        "mappings of large files": sum(file["mappings"] for file in large),
        "huge-page-mappable share": round(mapped["huge_share"], 4),
        "metadata MiB": round(mapped["metadata_bytes"] / (1 << 20), 1),
    }


def map_seconds(image: Path) -> float:
    """Return the time that it takes to map every file of an image whole, touch nothing, and unmap it."""
    import mmap

    from dcss.image.file_source import FileSource
    from dcss.image.files import image_files

    with image.open("rb") as stream:
        files = image_files(FileSource(stream.fileno())).files
        began = time.perf_counter()
        for file in files:
            for _, page, pages in file.runs:
                mmap.mmap(stream.fileno(), pages * 4096, prot=mmap.PROT_READ, offset=page * 4096).close()
        return time.perf_counter() - began


def touch_large(image: Path) -> tuple[float, int]:
    """Map the large files where huge pages can map them, read a byte of each page, return ns a page and page faults."""
    import ctypes
    import mmap

    from dcss.image.file_source import FileSource
    from dcss.image.files import image_files

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    with image.open("rb") as stream:
        files = [file for file in image_files(FileSource(stream.fileno())).files if file.size_bytes >= 1 << 20]
        area_bytes = sum(-(-file.size_bytes // HUGE_BYTES) * HUGE_BYTES for file in files) + HUGE_BYTES
        start = libc.mmap(None, area_bytes, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        at = -(-start // HUGE_BYTES) * HUGE_BYTES
        views = []
        for file in files:
            for file_page, page, pages in file.runs:
                where = at + file_page * 4096
                flags = mmap.MAP_SHARED | MAP_FIXED
                mapped = libc.mmap(where, pages * 4096, mmap.PROT_READ, flags, stream.fileno(), page * 4096)
                assert mapped == where, "mmap refused"
                views.append(np.ctypeslib.as_array((ctypes.c_uint8 * (pages * 4096)).from_address(where))[::4096])
            at += -(-file.size_bytes // HUGE_BYTES) * HUGE_BYTES
        faults, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        pages = sum(int(view.max() >= 0) * len(view) for view in views)
        seconds = time.perf_counter() - began
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(area_bytes))
    return seconds / pages * 1e9, faults


def on_huge_pages(images: dict[str, Path], scratch: Path) -> None:
    """Do so on a tmpfs that gives huge pages; only root can mount one."""
    if os.geteuid() != 0:
        print("touching on huge pages: not measured, only root can mount a tmpfs with huge=always")
        return
    mount = scratch / "huge"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "huge=always", "none", mount], check=True)
    try:
        print(f"\n{'large files touched on a tmpfs with huge=always':50} {'ns a page':>10} {'faults':>8}")
        for name, image in images.items():
            copy = mount / image.name
            with copy.open("wb") as out:
                out.truncate(image.stat().st_size)
                out.write(image.read_bytes())
            timings = [touch_large(copy) for _ in range(5)]
            nanoseconds = statistics.median(each for each, _ in timings)
            print(f"{name:50} {nanoseconds:>10.1f} {timings[-1][1]:>8}")
            copy.unlink()
    finally:
        subprocess.run(["umount", mount], check=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    limit_bytes = (int(sys.argv[2]) if len(sys.argv) > 2 else 200) << 20
    mke2fs = shutil.which("mke2fs", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if mke2fs is None:
        sys.exit("benchmarks/image_build.py: found no mke2fs, wanted e2fsprogs installed")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="dcss.bench.") as scratch_name:
        scratch = Path(scratch_name)
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(scratch / "pyc")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.pycache_prefix = environment["PYTHONPYCACHEPREFIX"]
        for package in ("dcss", "vmguest"):
            compileall.compile_dir(ROOT / package, quiet=2)
        files, size_bytes = copy_tree(scratch / "tree", limit_bytes)
        print(f"{files} files and links, {size_bytes / (1 << 20):.1f} MiB, {rounds} rounds, the first discarded")
        run(rounds, mke2fs, scratch, size_bytes, environment)


def run(rounds: int, mke2fs: str, scratch: Path, size_bytes: int, environment: dict[str, str]) -> None:
    tree, theirs, ours, alone = scratch / "tree", scratch / "theirs.img", scratch / "ours.img", scratch / "alone.img"
    size_blocks = size_bytes // 4096 * 13 // 10 + 4096
    makers: dict[str, tuple[Path, Callable[[], tuple[float, float]]]] = {
        "mke2fs -d": (
            theirs,
            lambda: timed(
                [mke2fs, "-q", "-F", "-t", "ext2", "-b", "4096", "-d", tree, theirs, str(size_blocks)], environment
            ),
        ),
        "dcss image build": (
            ours,
            lambda: timed(
                [sys.executable, "-m", "dcss", "image", "build", tree, "-o", ours, "--at", hex(ADDRESS)], environment
            ),
        ),
    }
    command: list[str | Path] = [sys.executable, "-c", BUILDER, tree, alone, str(ADDRESS)]
    results: dict[str, list[tuple[float, float]]] = {}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as builder:
        assert builder.stdin is not None
        assert builder.stdout is not None

        to_builder, from_builder = builder.stdin, builder.stdout

        def in_process() -> tuple[float, float]:
            to_builder.write("go\n")
            to_builder.flush()
            planned, written = json.loads(from_builder.readline())
            return planned + written, planned

        makers["the builder alone"] = (alone, in_process)
        for _ in range(rounds):
            for name, (image, make) in makers.items():
                image.unlink(missing_ok=True)
                results.setdefault(name, []).append(make())
        builder.stdin.close()
    reference = statistics.median(seconds for seconds, _ in results["mke2fs -d"][1:])
    for name, timings in results.items():
        seconds = [first for first, _ in timings[1:]]
        middle, second = statistics.median(seconds), statistics.median(cpu for _, cpu in timings[1:])
        note = f"plan {second:.3f} s" if name == "the builder alone" else f"CPU {second:.3f} s"
        spread = f"{min(seconds):.3f}-{max(seconds):.3f}"
        print(f"{name:18} {middle:.3f} s [{spread}]  {note}  {middle / reference:.2f} of mke2fs's time")
    assert ours.read_bytes() == alone.read_bytes(), "the same input gave different bytes"
    sys.path.insert(0, str(ROOT))
    columns = {"mke2fs": layout(theirs), "ours": layout(ours)}
    print(f"\n{'layout':26} {'mke2fs':>10} {'ours':>10}")
    for key in columns["ours"]:
        print(f"{key:26} {columns['mke2fs'][key]:>10} {columns['ours'][key]:>10}")
    milliseconds = [1000 * statistics.median(map_seconds(image) for _ in range(5)) for image in (theirs, ours)]
    print(f"{'map all files, ms':26} {milliseconds[0]:>10.2f} {milliseconds[1]:>10.2f}")
    on_huge_pages({"mke2fs": theirs, "ours": ours}, scratch)


if __name__ == "__main__":
    main()
