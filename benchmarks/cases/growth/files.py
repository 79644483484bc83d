"""Time and memory against the number of files of a segment, all of which a guest maps."""

from functools import partial
from pathlib import Path

from benchmarks.framework.kernel_books import KIB, MIB, memory_of
from benchmarks.framework.libraries import ADDRESS
from benchmarks.framework.results import Growth
from benchmarks.framework.rounds import Unavailable, grow
from benchmarks.framework.session import Session

NAME = "growth-files"
IN_ONE_DIRECTORY = 500
FILES = partial(Growth, NAME, against="files")
ROWS = (
    FILES("publish", unit="s", kind="time", includes="building the image of files of 4 KiB, 500 in each directory"),
    FILES(
        "ready",
        unit="s",
        kind="time",
        includes="first fork to one guest ready, which maps every file",
        leaves_out="publication",
    ),
    FILES("private memory", unit="KiB", kind="memory", includes="private pages of that guest"),
    FILES("CP's memory", unit="MiB", kind="memory", includes="anonymous memory of CP when its guest is ready"),
)


def run(session: Session) -> list[Growth]:
    """Measure segments of ten to a hundred thousand files."""

    def measure(files: int) -> dict[str, float]:
        with session.directory("files") as directory:
            config = _config(session, directory, files)
            try:
                with session.served("system", str(config)) as served:
                    return {
                        "publish": served.ready["publish"],
                        "ready": served.ready["ready"],
                        "private memory": memory_of(served.ready["pids"][0]).private_bytes / KIB,
                        "CP's memory": memory_of(served.pid).anonymous_bytes / MIB,
                    }
            except RuntimeError as error:  # as where a guest has more mappings than the kernel allows
                raise Unavailable(str(error).splitlines()[-1]) from error

    sizes = session.pick(quick=(10, 100, 1000), full=(10, 100, 1000, 10_000, 30_000, 100_000))
    return grow(NAME, ROWS, sizes, measure, rounds=1, warm_up=session.quick)


def _config(session: Session, directory: Path, files: int) -> Path:
    tree = directory / "tree"
    for number in range(files):
        if number % IN_ONE_DIRECTORY == 0:
            parent = tree / f"d{number // IN_ONE_DIRECTORY:04}"
            parent.mkdir(parents=True)
        (parent / f"f{number:06}").write_bytes(b"%08d" % number * 512)
    config = directory / "system.yaml"
    config.write_text(
        f"system: files-{session.name}\n"
        f"segments: [{{name: LIB, at: {ADDRESS}, image: {{directory: {tree}}}}}]\n"
        "guests: [{name: L, mounts: [{device: dcssblk0, at: /, options: [ro, xip]}], run: [{map: /d*/*}]}]\n"
    )
    return config
