"""SWEEP.yaml: which configurations it stands for, how they are named, and what is wrong in it."""

from pathlib import Path
from typing import Any

import pytest

from dcss.config.load_sweep import load_sweep
from dcss.config.problems import WrongValueError
from dcss.config.sweep_keys import locations, parse_key, put
from dcss.errors import ConfigError

SYSTEM = """
system: small
segments: [{name: LIB, at: 0x20000000, image: {directory: tree}}]
guests:
  - {name: G, count: 2, mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]}
  - {name: H, mounts: [{device: dcssblk0, at: /, options: [ro, xip]}]}
"""


def write(directory: Path, text: str) -> Path:
    (directory / "tree").mkdir(exist_ok=True)
    (directory / "system.yaml").write_text(SYSTEM)
    path = directory / "sweep.yaml"
    path.write_text(text)
    return path


def wrong(directory: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_sweep(write(directory, text))
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("system", [("system",)]),
        ("guests.H.count", [("guests", 1, "count")]),
        ("guests[0].count", [("guests", 0, "count")]),
        ("guests[*].mounts[0].mode", [("guests", 0, "mounts", 0, "mode"), ("guests", 1, "mounts", 0, "mode")]),
        ("guests.H.kernel.debian.suite", [("guests", 1, "kernel", "debian", "suite")]),
    ],
)
def test_a_path_means_places(key: str, found: list[Any]) -> None:
    data = {"system": "x", "guests": [{"name": "G", "mounts": [{}]}, {"name": "H", "mounts": [{}]}]}
    assert locations(data, parse_key(key)) == found


@pytest.mark.parametrize("key", ["", ".guests", "[0]", "guests[", "guests[a]", "guests[-1]", "guests..count"])
def test_what_is_no_path(key: str) -> None:
    with pytest.raises(WrongValueError, match="a path"):
        parse_key(key)


@pytest.mark.parametrize("key", ["guests.N.count", "guests[7].count", "system[0]", "system.x", "guests.G.mounts.x.at"])
def test_a_path_that_leads_nowhere(key: str) -> None:
    with pytest.raises(WrongValueError):
        locations({"system": "x", "guests": [{"name": "G", "mounts": [{}]}]}, parse_key(key))


def test_null_takes_a_key_out_and_mappings_on_the_way_are_made() -> None:
    data: dict[str, Any] = {"guests": [{"count": 2}]}
    put(data, ("guests", 0, "count"), None)
    put(data, ("guests", 0, "kernel", "debian", "suite"), "trixie")
    assert data == {"guests": [{"kernel": {"debian": {"suite": "trixie"}}}]}


def test_the_matrix_is_run_in_each_case_and_each_repeat(tmp_path: Path) -> None:
    plan = load_sweep(
        write(
            tmp_path,
            "system: system.yaml\nrepeat: 2\nmatrix: {guests.G.count: [1, 3]}\n"
            'cases: {here: {}, copies: {"guests[*].mounts[0].options": [ro], "guests[*].expect": copies}}\n',
        )
    )
    assert (plan.name, plan.keys) == ("sweep", ("case", "guests.G.count"))
    assert [each.label for each in plan.configurations[:4]] == [
        "case=here guests.G.count=1",
        "case=here guests.G.count=3",
        "case=copies guests.G.count=1",
        "case=copies guests.G.count=3",
    ]
    assert plan.configurations[4].label == "case=here guests.G.count=1 repeat=2"
    assert len({each.digest for each in plan.configurations}) == 8
    guests = plan.configurations[3].data["guests"]
    assert [(guest.get("count"), guest["expect"], guest["mounts"][0]["options"]) for guest in guests] == [
        (3, "copies", ["ro"]),
        (None, "copies", ["ro"]),
    ]


def test_a_digest_is_of_what_is_run(tmp_path: Path) -> None:
    def digests(text: str) -> set[str]:
        return {each.digest for each in load_sweep(write(tmp_path, text)).configurations}

    first = digests("system: system.yaml\nmatrix: {guests.G.count: [1, 2, 3]}")
    more = digests("sweep: other\nsystem: system.yaml\nretries: 3\nmatrix: {guests.G.count: [4, 3, 2, 1]}")
    assert first < more


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("system: system.yaml\nmatrix: {guests.N.count: [1]}", "2: matrix.guests.N.count: found 'guests.N.count'"),
        ("system: system.yaml\nmatrix: {guests.G.count: [1, 1]}", "found 1 again, wanted each value once"),
        ("system: system.yaml\nmatrix: {guests.G.count: []}", "found an empty list, wanted at least one value"),
        ("system: system.yaml\nmatrix: {guests.G.count: [1, 0]}", "guests[0].count: found 0, wanted 1 or more (with"),
        ("system: system.yaml", "matrix: found no key"),
        ("matrix: {guests.G.count: [1]}", "system: found nothing, wanted the YAML of a system"),
        ("system: none.yaml\nmatrix: {guests.G.count: [1]}", "No such file"),
        ("system: system.yaml\nrepeats: 2\nmatrix: {guests.G.count: [1]}", "did you mean repeat?"),
        ("system: system.yaml\ntime_limit: 0\nmatrix: {guests.G.count: [1]}", "wanted a number of seconds above 0"),
        ("command: kernel-test\nmatrix: {check: [a]}", "found no kernel"),
        ("command: kernel-test\nmatrix: {kernels: [a], kernel: [b]}", "did you mean kernel?"),
        ("command: kernel-test\nsystem: a\nmatrix: {kernel: [b]}", "found system:, wanted none"),
        (
            "system: system.yaml\nrepeat: 1000\nmatrix: {a: [1,2,3,4,5,6,7,8,9,10], b: [1,2,3,4,5,6,7,8,9,10,11]}",
            "110000",
        ),
        ("system: system.yaml\nmatrix: {'segments[0].image': [null]}", "found segment LIB without image:"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(tmp_path: Path, text: str, message: str) -> None:
    assert message in wrong(tmp_path, text)


def test_kernels_are_paths_from_the_file_or_packages(tmp_path: Path) -> None:
    plan = load_sweep(write(tmp_path, "command: kernel-test\nmatrix: {kernel: [debian:trixie, linux], check: [a, b]}"))
    assert [each.data["kernel"] for each in plan.configurations[1:3]] == ["debian:trixie", str(tmp_path / "linux")]


def test_the_example_has_what_docs_sweep_md_shows() -> None:
    path = Path(__file__).resolve().parents[4] / "configs/sweeps/modes.yaml"
    page = (path.parents[2] / "docs/sweep.md").read_text()
    assert path.read_text().partition("sweep: modes")[2] in page
    assert [each.label for each in load_sweep(path).configurations][::7] == [
        "case=in place guests.G.count=1",
        "case=mtd guests.G.count=4",
        "case=copies guests.G.count=16",
    ]
