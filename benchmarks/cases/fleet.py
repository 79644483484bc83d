"""What a fleet adds to the plain command on one host, and a sweep beside the same commands in a shell loop."""

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.framework.kernel_books import MIB
from benchmarks.framework.libraries import config_of, library_image
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, compare
from benchmarks.framework.session import Session

PLAIN = "dcss up -d"
LOOP = "a shell loop"
MOST_SECONDS = 0.5
MOST_RATIO = 1.15
UP, UP_AGAIN, DOWN, OVERHEAD, SWEEP = "up", "up again", "down", "overhead of up", "sweep"


def run(session: Session) -> list[Row]:
    """Measure both with a few guests: what is compared is what comes before and after them."""
    configurations = session.pick(quick=2, full=10)
    specs = [
        RowSpec(UP, "s", "time", "from the command to its end, a system of two guests ready on one host"),
        RowSpec(UP_AGAIN, "s", "time", "the same command when that is up: `dcss fleet up`, and `dcss ps` beside it"),
        RowSpec(DOWN, "s", "time", "from the command to its end, nothing left"),
        RowSpec(
            OVERHEAD,
            "s",
            "time",
            "`dcss fleet up` less `dcss up -d`, in the same round: version and memory of the host, the image built and"
            " its digest, the host's YAML",
            wanted_most=MOST_SECONDS,
        ),
        RowSpec(
            SWEEP,
            "s",
            "time",
            f"{configurations} configurations of one to that many guests: `dcss sweep`, with its rows; the loop runs"
            " `dcss run --json` on a YAML for each",
            wanted_ratio=(LOOP, MOST_RATIO),
        ),
    ]
    with session.directory("fleet") as directory:
        image = library_image(session, directory, 16 * MIB)
        name = f"fleet-{session.name}"
        config = config_of(session, name, image.path, 2)
        loop = _loop(session, directory, name, image.path, configurations)
        sweep = directory / "sweep.yaml"
        sweep.write_text(
            f"system: {config}\nmatrix: {{'guests[0].count': {list(range(1, configurations + 1))}}}\n", "utf-8"
        )

        def ours() -> Sample:
            plain, fleet = _plain(session, name, config), _fleet(session, config)
            rows = directory / "rows.jsonl"
            rows.unlink(missing_ok=True)
            swept = _seconds(lambda: session.dcss("sweep", sweep, "-o", rows, "--json", discard=True))
            sample: dict[str | tuple[str, str], float] = {(PLAIN, row): seconds for row, seconds in plain.items()}
            sample.update(fleet)
            return sample | {OVERHEAD: fleet[UP] - plain[UP], SWEEP: swept}

        def shell() -> Sample:
            return {SWEEP: _seconds(lambda: session.run("sh", "-c", loop, discard=True))}

        return compare("fleet", specs, {"dcss": ours, LOOP: shell}, rounds=session.pick(quick=2, full=5), warm_up=False)


def _fleet(session: Session, config: Path) -> dict[str, float]:
    return {
        UP: _seconds(lambda: session.dcss("fleet", "up", config, "--workers", "1", discard=True)),
        UP_AGAIN: _seconds(lambda: session.dcss("fleet", "up", config, "--workers", "1", discard=True)),
        DOWN: _seconds(lambda: session.dcss("fleet", "down", config, discard=True)),
    }


def _plain(session: Session, name: str, config: Path) -> dict[str, float]:
    return {
        UP: _seconds(lambda: session.dcss("up", config, "-d", discard=True)),
        UP_AGAIN: _seconds(lambda: session.dcss("ps", name, discard=True)),
        DOWN: _seconds(lambda: session.dcss("down", name, discard=True)),
    }


def _loop(session: Session, directory: Path, name: str, image: Path, configurations: int) -> str:
    """Return a shell's loop over a YAML for each configuration."""
    for guests in range(1, configurations + 1):
        config = config_of(session, f"{name}-{guests}", image, guests)
        config.rename(directory / f"{guests}.yaml")
    words = f"{shlex.quote(sys.executable)} -m dcss run"
    return f'for each in {shlex.quote(str(directory))}/[0-9]*.yaml; do {words} "$each" --json > "$each.json"; done'


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
