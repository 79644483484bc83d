"""What a run found, as data and as JSON: rows that compare, rows that grow, and the machine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.framework.stats import Spread, exponent, ratios, upper_range

Kind = Literal["time", "cpu", "memory", "count", "layout"]  # layout: a count that the files of this machine decide
LINEAR_EXPONENT = 1.2  # 1, the logarithm of sorting over a decade of sizes, and noise
FORMAT = 1
NOTHING = "nothing"
_BETWEEN = "; "  # between what several runs say of the machine: what one says may have commas
_RUN_FACTS = ("date", "commit", "processor", "load before")


@dataclass(frozen=True)
class RowSpec:
    """One figure that is measured of several subjects. Less is always better.

    `includes` and `leaves_out` say what the figure covers. `wanted_ratio` is the most that ours may be of a subject,
    `wanted_most` the most that it may be in the row's unit.
    """

    name: str
    unit: str
    kind: Kind
    includes: str
    leaves_out: str = NOTHING
    wanted_ratio: tuple[str, float] | None = None
    wanted_most: float | None = None


@dataclass(frozen=True)
class Row(RowSpec):
    """A figure with its samples by subject, one a round; `skipped` has the reason for each subject without any."""

    benchmark: str = ""
    ours: str = "dcss"
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.benchmark}/{self.name}"

    def spread(self, subject: str) -> Spread | None:
        """Return median and quartiles of a subject's samples, or None if there are none."""
        samples = self.samples.get(subject)
        return Spread.of(samples) if samples else None

    def ratio_samples(self, subject: str) -> list[float]:
        """Return ours divided by a subject's, round by round."""
        return ratios(self.samples.get(self.ours, ()), self.samples.get(subject, ()))

    def ratio(self, subject: str) -> Spread | None:
        """Return ours divided by a subject's, with its spread; below 1 ours is cheaper."""
        found = self.ratio_samples(subject)
        return Spread.of(found) if found and subject != self.ours else None

    def met(self) -> bool | None:
        """Return whether all that is wanted was reached; None if nothing is wanted, or it could not be measured."""
        ours, ratio = self.spread(self.ours), self.ratio(self.wanted_ratio[0]) if self.wanted_ratio else None
        reached = []
        if self.wanted_ratio and ratio is not None:
            reached.append(ratio.median <= self.wanted_ratio[1])
        if self.wanted_most is not None and ours is not None:
            reached.append(ours.median <= self.wanted_most)
        return all(reached) if reached else None


@dataclass(frozen=True)
class Growth:
    """A figure against a size: samples at each size, and whether it grows linearly or better."""

    benchmark: str
    name: str
    unit: str
    kind: Kind
    against: str
    includes: str
    leaves_out: str = NOTHING
    points: tuple[tuple[float, tuple[float, ...]], ...] = ()
    skipped: str = ""
    most: float = LINEAR_EXPONENT  # the exponent that still passes; 0 and some noise for what should not grow at all

    @property
    def key(self) -> str:
        return f"{self.benchmark}/{self.name}"

    def medians(self) -> list[tuple[float, float]]:
        return [(size, Spread.of(samples).median) for size, samples in self.points if samples]

    def exponent(self) -> float | None:
        """Return the exponent over the upper range of sizes."""
        medians = self.medians()
        if not medians:
            return None
        upper = set(upper_range([size for size, _ in medians]))
        return exponent([(size, value) for size, value in medians if size in upper])

    def passes(self) -> bool | None:
        found = self.exponent()
        return None if found is None else found <= self.most


@dataclass(frozen=True)
class Results:
    """Everything that one run found; `runs` says of which one each benchmark is, where several were joined."""

    mode: str
    machine: Mapping[str, str]
    rows: tuple[Row, ...] = ()
    growths: tuple[Growth, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the results as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read what `write` wrote. Raises ValueError for another format."""
        document: dict[str, Any] = json.loads(path.read_text())
        if document.pop("format", None) != FORMAT:
            raise ValueError(f"{path}: found another format, wanted {FORMAT}; run the benchmarks again")
        rows = tuple(_row(each) for each in document.pop("rows"))
        growths = tuple(_growth(each) for each in document.pop("growths"))
        return cls(rows=rows, growths=growths, **document)

    def run_of(self, benchmark: str) -> str:
        """Return the words that say which run a benchmark is of."""
        facts = (f"{key} {self.machine[key]}" for key in _RUN_FACTS if key in self.machine)
        return self.runs.get(benchmark) or "; ".join([f"mode {self.mode}", *facts])

    @classmethod
    def joined(cls, runs: Sequence["Results"]) -> "Results":
        """Return several runs as one; of a benchmark that several have, the last one counts.

        What runs say differently of the machine, such as their commits, is all said, each once.
        """
        machine: dict[str, list[str]] = {}
        for run in runs:
            for key, value in run.machine.items():
                said = machine.setdefault(key, [])
                said += [each for each in value.split(_BETWEEN) if each not in said]
        machine.pop("load before", None)  # each run has its own
        last = {name: run for run in runs for name in run.seconds}
        return cls(
            " and ".join(sorted({mode for run in last.values() for mode in run.mode.split(" and ")})),
            {key: _BETWEEN.join(values) for key, values in machine.items()},
            tuple(row for name, run in last.items() for row in run.rows if row.benchmark == name),
            tuple(each for name, run in last.items() for each in run.growths if each.benchmark == name),
            {name: run.seconds[name] for name, run in last.items()},
            {name: run.run_of(name) for name, run in last.items()},
        )


def _row(fields: dict[str, Any]) -> Row:
    wanted = fields.pop("wanted_ratio")
    samples = {subject: tuple(each) for subject, each in fields.pop("samples").items()}
    return Row(**fields, samples=samples, wanted_ratio=(wanted[0], wanted[1]) if wanted else None)


def _growth(fields: dict[str, Any]) -> Growth:
    return Growth(**fields | {"points": tuple((size, tuple(samples)) for size, samples in fields["points"])})
