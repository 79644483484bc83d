"""No module needs another that needs it, at any moment: late imports and those for types count too."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("dcss", "vmguest")

Graph = dict[str, set[str]]


def read_modules(root: Path, *packages: str) -> dict[str, tuple[ast.Module, bool]]:
    """Return the syntax tree of each module by its name, and whether it is a package."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found[name] = (ast.parse(path.read_text(encoding="utf-8")), is_package)
    return found


def imports(name: str, tree: ast.Module, *, is_package: bool) -> Iterator[str]:
    """Yield what a module imports, wherever in it; `from a import b` as a.b, which may be a name in a or a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".") if is_package else name.split(".")[:-1]
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def import_graph(modules: dict[str, tuple[ast.Module, bool]]) -> Graph:
    """Return which module imports which; that importing a.b runs a's __init__ as well is not counted."""
    graph: Graph = {}
    for name, (tree, is_package) in modules.items():
        wanted = graph.setdefault(name, set())
        for target in imports(name, tree, is_package=is_package):
            module = target if target in modules else target.rpartition(".")[0]
            if module in modules and module != name:
                wanted.add(module)
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Return one circle of each group of modules that need each other, shortest first."""
    with suppress(CycleError):
        TopologicalSorter(graph).prepare()
        return []  # nearly always, and at once
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in sorted(graph):
        if start in seen:
            continue
        circle = shortest_way_back(graph, start)
        if circle:
            seen.update(circle)
            found.append(circle)
    return sorted(found, key=len)


def shortest_way_back(graph: Graph, start: str) -> list[str]:
    """Return the shortest path from a module to itself, or nothing."""
    came_from: dict[str, str] = {}
    queue = [start]
    for module in queue:
        for target in sorted(graph[module]):
            if target == start:
                path = [module]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if target not in came_from:
                came_from[target] = module
                queue.append(target)
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = import_graph(read_modules(ROOT, *PACKAGES))
    assert len(graph) > 100
    assert [" -> ".join([*circle, circle[0]]) for circle in circles(graph)] == []


@pytest.mark.parametrize(
    ("text", "circle"),
    [
        ("from p.b import f", ["p.a", "p.b"]),
        ("import p.b", ["p.a", "p.b"]),
        ("from p import b", ["p.a", "p.b"]),
        ("from . import b", ["p.a", "p.b"]),
        ("from .b import f", ["p.a", "p.b"]),
        ("def late():\n    from p.b import f", ["p.a", "p.b"]),
        ("if TYPE_CHECKING:\n    from p.c import f", ["p.a", "p.c", "p.b"]),
        ("from p.d import f", []),
        ("from p import f", []),
    ],
)
def test_a_circle_is_found_and_named(tmp_path: Path, text: str, circle: list[str]) -> None:
    (tmp_path / "p").mkdir()
    texts = {"__init__": "def f(): pass", "a": text, "b": "import p.a", "c": "from p.b import f", "d": "import os"}
    for name, content in texts.items():
        (tmp_path / "p" / f"{name}.py").write_text(content)
    graph = import_graph(read_modules(tmp_path, "p"))
    assert circles(graph) == ([circle] if circle else [])
    assert all(target in graph[module] for module, target in pairwise(circle))
