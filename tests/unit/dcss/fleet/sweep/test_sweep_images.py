"""Images of a sweep are built once, sent to a host once, and removed with the last configuration that has them."""

from pathlib import Path
from typing import Any

import pytest

from dcss.fleet.host_yaml import IMAGES
from dcss.fleet.sweep import images
from dcss.fleet.sweep.children import start_child
from dcss.fleet.sweep.images import SweepImages
from dcss.fleet.sweep.workers import OWN_NAME, OwnHost


def system_of(tree: Path, **keys: Any) -> dict[str, Any]:
    return {"segments": [{"name": "LIB", "at": 0x20000000, "image": {"directory": str(tree)}, **keys}], "guests": []}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the images whose building was begun, as they come."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("tree", "scratch", "cache"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "tree/file").write_bytes(b"content")
    begun: list[str] = []

    def counted(run: str, arguments: list[str], *others: Any) -> Any:
        begun.append(arguments[-1])
        return start_child(run, arguments, *others)

    monkeypatch.setattr(images, "start_child", counted)
    return begun


def test_configurations_with_equal_images_have_one_and_it_goes_with_the_last(tmp_path: Path, built: list[str]) -> None:
    large = system_of(tmp_path / "tree", size="4M")
    systems = [system_of(tmp_path / "tree"), system_of(tmp_path / "tree", type="SN"), large]
    made = SweepImages(tmp_path / "scratch", "run", systems, OwnHost())
    given = [made.give(system, OWN_NAME, "node") for system in systems]
    assert len(built) == 2
    names = [segment["image"]["ext2"].removeprefix(IMAGES) for system, _ in given for segment in system["segments"]]
    assert [digests for _, digests in given] == [[name] for name in names]
    assert names[0] == names[1] != names[2]
    assert [system["segments"][0].get("type") for system, _ in given] == [None, "SN", None]
    cached = {path.name for path in (tmp_path / "cache/dcss/fleet/segments").iterdir()}
    assert cached == set(names)
    made.release(systems[0])
    assert [Path(each).exists() for each in built] == [True, True]
    made.release(systems[1])
    assert [Path(each).exists() for each in built] == [False, True]


def test_what_cannot_be_built_is_left_to_the_command_that_says_why(tmp_path: Path, built: list[str]) -> None:
    system = system_of(tmp_path / "none")
    made = SweepImages(tmp_path / "scratch", "run", [system], OwnHost())
    assert made.give(system, OWN_NAME, "node") == (system, [])
    assert made.give(system, OWN_NAME, "node") == (system, [])
    assert len(built) == 1


def test_an_image_over_several_segments_is_one(tmp_path: Path, built: list[str]) -> None:
    further = {"name": "MORE", "at": 0x20200000, "size": "2M", "image": {"continues": "LIB"}}
    system = system_of(tmp_path / "tree", size="2M")
    system["segments"].append(further)
    given, digests = SweepImages(tmp_path / "scratch", "run", [system], OwnHost()).give(system, OWN_NAME, "node")
    assert len(digests) == len(built) == 1
    assert given["segments"][1] == further
    assert Path(built[0]).stat().st_size == 4 << 20
