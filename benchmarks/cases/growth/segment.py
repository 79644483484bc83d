"""Time and CP's own memory against the size of a segment, most of which is holes of a sparse file.

Segments of 2 GiB and more are several that adjoin, with one file system over them.
"""

from functools import partial
from pathlib import Path

from benchmarks.framework.kernel_books import MIB, memory_of
from benchmarks.framework.libraries import ADDRESS
from benchmarks.framework.results import Growth
from benchmarks.framework.rounds import grow
from benchmarks.framework.session import Session

NAME = "growth-segment"
MOST_MIB = 2047  # of one segment
STEP_BYTES = 64 * MIB  # a page of data at every multiple
FILE_SHARE = 0.75
CONSTANT_EXPONENT = 0.15  # what noise makes of 0
SIZE = partial(Growth, NAME, against="MiB of the segment")
ROWS = (
    SIZE("publish", unit="s", kind="time", includes="building the image of a sparse file in place"),
    SIZE(
        "ready",
        unit="s",
        kind="time",
        includes="first fork to one guest ready, which maps the whole file, every page present",
        leaves_out="publication",
    ),
    SIZE(
        "CP's memory",
        unit="MiB",
        kind="memory",
        includes="anonymous memory of CP when its guest is ready",
        leaves_out="the segment itself, and page tables",
        most=CONSTANT_EXPONENT,
    ),
    SIZE("CP's page tables", unit="MiB", kind="memory", includes="VmPTE of CP, which maps the whole segment"),
)


def run(session: Session) -> list[Growth]:
    """Measure segments of a megabyte to eight gigabytes."""

    def measure(size_mib: int) -> dict[str, float]:
        with session.directory("segment") as directory:
            config = _config(session, directory, size_mib)
            with session.served("system", str(config)) as served:
                memory = memory_of(served.pid)
                return {
                    "publish": served.ready["publish"],
                    "ready": served.ready["ready"],
                    "CP's memory": memory.anonymous_bytes / MIB,
                    "CP's page tables": memory.page_table_bytes / MIB,
                }

    sizes = session.pick(quick=(1, 16, 256), full=(1, 8, 64, 512, 2048, 8192))
    return grow(NAME, ROWS, sizes, measure, rounds=1, warm_up=session.quick)


def _config(session: Session, directory: Path, size_mib: int) -> Path:
    tree = directory / "tree"
    tree.mkdir()
    length_bytes = int(size_mib * MIB * FILE_SHARE)
    with (tree / "sparse").open("wb") as file:
        file.truncate(length_bytes)
        for offset in range(0, length_bytes, STEP_BYTES):
            file.seek(offset)
            file.write(bytes([1 + offset // STEP_BYTES % 255, *range(255)]) * 16)
    sizes_mib = [MOST_MIB] * (size_mib // MOST_MIB) + ([size_mib % MOST_MIB] if size_mib % MOST_MIB else [])
    segments = [f"  - {{name: S1, at: {ADDRESS}, size: {sizes_mib[0]}M, image: {{directory: {tree}}}}}"]
    for number, size in enumerate(sizes_mib[1:], start=2):
        segments.append(f"  - {{name: S{number}, size: {size}M, image: {{continues: S{number - 1}}}}}")
    config = directory / "system.yaml"
    guest = "{name: L, mounts: [{device: dcssblk0, at: /, options: [ro, xip]}], run: [{map: /sparse}]}"
    config.write_text("\n".join([f"system: size-{session.name}", "segments:", *segments, f"guests: [{guest}]\n"]))
    return config
