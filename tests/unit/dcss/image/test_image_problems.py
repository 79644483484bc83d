"""What cannot be made into an image names file, line and field of the YAML."""

from pathlib import Path

import pytest

from dcss.config.load import load_plan
from dcss.errors import ConfigError
from dcss.image.build import plan_image
from dcss.image.problems import segment_errors


def findings(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    (segment,) = load_plan(path).segments
    assert segment.image is not None
    with pytest.raises(ConfigError) as caught, segment_errors([segment]):
        plan_image(segment.image, address=segment.start_address or 0, size_bytes=segment.size_bytes)
    return caught.value.findings


def test_each_pattern_that_is_wrong_has_its_own_line(tmp_path: Path) -> None:
    found = findings(
        tmp_path,
        "segments:\n  - name: LIB\n    at: 0x20000000\n    image:\n      files:\n"
        "        - nothing/*.so\n        - /etc/hostname\n        - /usr/bin/\n      exclude: [/a/../b]\n",
    )
    assert [line.partition(": segment LIB: ")[0] for line in found] == [
        f"{tmp_path}/plan.yaml:9: segments[0].image.exclude[0]",
        f"{tmp_path}/plan.yaml:6: segments[0].image.files[0]",
        f"{tmp_path}/plan.yaml:8: segments[0].image.files[2]",
    ]
    assert found[1].endswith("matches nothing on this machine, wanted at least one file")


@pytest.mark.parametrize(
    ("place", "line"),
    [("define: ['20000-20001 SR']", "3: segments[0].define"), ("at: 0x20000000\n    size: 8K", "4: segments[0].size")],
)
def test_a_size_that_is_too_small_names_the_key_that_gives_it(tmp_path: Path, place: str, line: str) -> None:
    (tmp_path / "large").write_bytes(bytes(100_000))
    (found,) = findings(tmp_path, f"segments:\n  - name: LIB\n    {place}\n    image: {{files: [large]}}\n")
    assert found.startswith(f"{tmp_path}/plan.yaml:{line}: segment LIB: the image needs ")


@pytest.mark.parametrize("key", ["tar", "ext2"])
def test_a_source_that_cannot_be_read_names_its_key(tmp_path: Path, key: str) -> None:
    (tmp_path / "source").write_bytes(b"no image and no archive" * 100)
    (found,) = findings(tmp_path, f"segments:\n  - name: LIB\n    at: 0x20000000\n    image:\n      {key}: source\n")
    assert found.startswith(f"{tmp_path}/plan.yaml:5: segments[0].image.{key}: segment LIB: ")


def test_a_directory_that_went_meanwhile_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "plan.yaml").write_text("segments:\n  - {name: LIB, at: 0x20000000, image: {directory: tree}}\n")
    (segment,) = load_plan(tmp_path / "plan.yaml").segments
    assert segment.image is not None
    (tmp_path / "tree").rmdir()
    with pytest.raises(ConfigError) as caught, segment_errors([segment]):
        plan_image(segment.image, address=0x20000000)
    (found,) = caught.value.findings
    assert found.startswith(f"{tmp_path}/plan.yaml:2: segments[0].image.directory: segment LIB: ")
