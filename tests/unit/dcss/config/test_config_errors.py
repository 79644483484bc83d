"""A wrong file gives all its problems at once, each on one line with file and line."""

from pathlib import Path

import pytest
from wrong_config_support import WRONG_CONFIGS, WrongConfig

from dcss.config.load import load_plan
from dcss.errors import ConfigError


@pytest.mark.parametrize("wrong", WRONG_CONFIGS, ids=lambda wrong: wrong.name)
def test_each_wrong_file_gives_its_findings(wrong: WrongConfig, tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.write_bytes(wrong.text if isinstance(wrong.text, bytes) else wrong.text.encode())
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    assert caught.value.findings == tuple(f"{path}:{finding}" for finding in wrong.findings)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no.yaml"
    with pytest.raises(ConfigError, match="found No such file or directory, wanted a readable YAML file") as caught:
        load_plan(path)
    assert str(caught.value).endswith("(dcss init writes an example)")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found Is a directory"):
        load_plan(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ConfigError, match="found more than 1048576 bytes"):
        load_plan(path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 20000)
    with pytest.raises(ConfigError, match="too many levels of nesting"):
        load_plan(path)


def test_a_name_that_no_system_can_have_needs_system(tmp_path: Path) -> None:
    path = tmp_path / "My File.yaml"
    path.write_text("segments: [{name: A, at: 1M, image: {files: [/x]}}]\n")
    with pytest.raises(ConfigError, match="1: system: found nothing, wanted a name, since the file's own cannot serve"):
        load_plan(path)


def test_found_text_cannot_break_the_line(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text('system: "a\\nb\\e[31m' + "x" * 500 + '"\nsegments: [{name: A, at: 1M, image: {files: [/x]}}]\n')
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    (finding,) = caught.value.findings
    assert "found 'a\\nb\\x1b[31mxxx" in finding
    assert finding.isprintable()
    assert len(finding) < 300
