"""Write results into the documentation, between markers; the text around them is written by hand.

A page has, on lines of their own, `<!-- benchmark NAME -->` and `<!-- end of benchmark NAME -->`; what stands between
them is replaced. `machine` is a name too.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.framework.results import Results
from benchmarks.report.tables import comparison, growth

_PLACE = re.compile(
    r"<!-- benchmark (?P<name>[a-z0-9-]+) -->\n(?:.*?\n)?<!-- end of benchmark (?P=name) -->\n", re.DOTALL
)


def sections(results: Results, plots: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return the generated text of each benchmark by name; `plots` has the files of its plots, as pages name them."""
    found = {"machine": machine(results)}
    for name in results.seconds:
        rows = [row for row in results.rows if row.benchmark == name]
        growths = [each for each in results.growths if each.benchmark == name]
        parts = [f"Of a run in {results.run_of(name)}."]
        parts += [comparison(rows)] if rows else []
        parts += [growth(growths)] if growths else []
        parts += [f"![{Path(path).stem.replace('-', ' ')}]({path})" for path in plots.get(name, ())]
        found[name] = "\n\n".join(parts)
    return found


def machine(results: Results) -> str:
    """Return a list of what the figures depend on."""
    seconds = sum(results.seconds.values())
    lines = [f"- mode: {results.mode}, which took {seconds / 60:.0f} minutes"]
    return "\n".join([*lines, *(f"- {key}: {value}" for key, value in results.machine.items())])


def fill(text: str, contents: Mapping[str, str]) -> tuple[str, set[str]]:
    """Replace what stands between markers; return the text, and the names that it has a place for."""
    placed: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        placed.add(name)
        if name not in contents:
            return match[0]
        return f"<!-- benchmark {name} -->\n{contents[name]}\n<!-- end of benchmark {name} -->\n"

    return _PLACE.sub(replace, text), placed


def write_pages(directory: Path, contents: Mapping[str, str]) -> list[Path]:
    """Fill every page of a directory; return those that changed. Raises ValueError for a benchmark without a place."""
    placed: set[str] = set()
    changed = []
    for path in sorted(directory.glob("*.md")):
        before = path.read_text()
        after, names = fill(before, contents)
        placed |= names
        if after != before:
            path.write_text(after)
            changed.append(path)
    missing = sorted(set(contents) - placed)
    if missing:
        raise ValueError(
            f"{directory}: found no place for {', '.join(missing)}, wanted `<!-- benchmark NAME -->` in a page"
        )
    return changed
