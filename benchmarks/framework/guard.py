"""The regression guard: ratios of a run against a stored baseline. Absolute times are never compared.

The baseline has, for each mode, the ratio of ours to each other subject of a row, and the exponent of each growth,
with a tolerance that comes from the spread of the runs that it was recorded from. A ratio fails if even its better
quartile is beyond the tolerance: one slow round is noise, most of the rounds are a loss.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.framework.results import Growth, Kind, Results
from benchmarks.framework.stats import Spread

# The least tolerance by kind of figure: what another machine, or other work on it, changes without any loss.
LEAST_TOLERANCE: Mapping[Kind, float] = {"time": 0.6, "cpu": 0.4, "memory": 0.15, "count": 0.05, "layout": 0.5}
SPREADS = 3  # so many times the distance of the quartiles is tolerated, where that is more
BEYOND_WORST = 1.1  # and so many times the median of the worst run
EXPONENT_TOLERANCE = 0.3
Outcome = Literal["held", "lost", "unknown", "not measured", "gone"]


@dataclass(frozen=True)
class Wanted:
    """One figure of the baseline: a ratio and the share by which it may be exceeded, or an exponent and its margin."""

    value: float
    tolerance: float

    def most_ratio(self) -> float:
        return self.value * (1 + self.tolerance)

    def most_exponent(self) -> float:
        return self.value + self.tolerance


@dataclass(frozen=True)
class Finding:
    """What became of one figure, as one line."""

    key: str
    outcome: Outcome
    message: str

    @property
    def fails(self) -> bool:
        return self.outcome in {"lost", "gone"}


def record(runs: Sequence[Results]) -> dict[str, Wanted]:
    """Return the baseline of one or several runs of one mode; several show how far runs differ from each other."""
    samples: dict[str, list[float]] = {}
    worst: dict[str, float] = {}
    kinds: dict[str, Kind] = {}
    wanted: dict[str, Wanted] = {}
    for run in runs:
        for row in run.rows:
            for subject in row.samples:
                ratio, key = row.ratio(subject), f"{row.key} / {subject}"
                if ratio is not None:
                    samples.setdefault(key, []).extend(row.ratio_samples(subject))
                    worst[key] = max(ratio.median, worst.get(key, ratio.median))
                    kinds[key] = row.kind
        for growth in run.growths:
            exponent = growth.exponent()
            if exponent is not None:
                most = max(exponent, wanted[growth.key].value if growth.key in wanted else exponent)
                wanted[growth.key] = Wanted(round(most, 3), EXPONENT_TOLERANCE)
    for key, found in samples.items():
        spread = Spread.of(found)
        beyond_worst = BEYOND_WORST * worst[key] / spread.median - 1 if spread.median else 0.0
        tolerance = max(LEAST_TOLERANCE[kinds[key]], SPREADS * spread.relative, beyond_worst)
        wanted[key] = Wanted(round(spread.median, 4), round(tolerance, 2))
    return wanted


def check(results: Results, baseline: Mapping[str, Wanted], lenience: float = 1.0) -> list[Finding]:
    """Compare every figure of a run with the baseline of its mode, and name what either of them lacks.

    So many times the tolerances are allowed: on a machine that others use too, only a large loss is clear.
    """
    baseline = {key: replace(each, tolerance=each.tolerance * lenience) for key, each in baseline.items()}
    findings = [*_ratios(results, baseline), *_exponents(results.growths, baseline)]
    seen = {finding.key for finding in findings}
    measured = {key.partition("/")[0] for key in results.seconds}
    for key in baseline:
        if key not in seen and key.partition("/")[0] in measured:
            findings.append(Finding(key, "gone", f"{key}: found no such row, wanted {baseline[key].value:.2f}; {MEND}"))
    return findings


MEND = "if that is meant, record a new baseline with `make bench-baseline`"


def _ratios(results: Results, baseline: Mapping[str, Wanted]) -> Iterator[Finding]:
    for row in results.rows:
        for subject, reason in row.skipped.items():
            key = f"{row.key} / {subject}"
            yield Finding(key, "not measured", f"{key}: not measured: {reason}")
        for subject in row.samples:
            key, found = f"{row.key} / {subject}", row.ratio(subject)
            if found is None:
                continue
            if key not in baseline:
                yield Finding(key, "unknown", f"{key}: found {found.median:.2f}, and no baseline; {MEND}")
                continue
            most = baseline[key].most_ratio()
            text = (
                f"{key}: found {found.median:.2f} [{found.low:.2f}-{found.high:.2f}], "
                f"wanted at most {most:.2f} ({baseline[key].value:.2f} and {baseline[key].tolerance:.0%})"
            )
            yield Finding(key, "lost", f"{text}; {MEND}") if found.low > most else Finding(key, "held", text)


def _exponents(growths: Sequence[Growth], baseline: Mapping[str, Wanted]) -> Iterator[Finding]:
    for growth in growths:
        found = growth.exponent()
        if found is None:
            reason = growth.skipped or "no two sizes"
            yield Finding(growth.key, "not measured", f"{growth.key}: not measured: {reason}")
        elif growth.key not in baseline:
            yield Finding(growth.key, "unknown", f"{growth.key}: found exponent {found:.2f}, and no baseline; {MEND}")
        else:
            most = max(growth.most, baseline[growth.key].most_exponent())
            text = f"{growth.key}: found exponent {found:.2f}, wanted at most {most:.2f}"
            yield Finding(growth.key, "lost", f"{text}; {MEND}") if found > most else Finding(growth.key, "held", text)


def read_baseline(path: Path) -> dict[str, dict[str, Wanted]]:
    """Read the baselines of all modes."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text())
    return {mode: {key: Wanted(**each) for key, each in keys.items()} for mode, keys in document.items()}


def write_baseline(path: Path, baselines: Mapping[str, Mapping[str, Wanted]]) -> None:
    """Write the baselines of all modes."""
    document = {mode: {key: asdict(each) for key, each in keys.items()} for mode, keys in baselines.items()}
    path.write_text(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
