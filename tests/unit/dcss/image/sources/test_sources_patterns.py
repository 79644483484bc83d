from pathlib import Path

import pytest

from dcss.errors import ImageError
from dcss.image.sources.patterns import match_pattern


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "lib/a.so",
        "lib/b.so.1",
        "lib/sub/c.so",
        "lib/sub/deep/d.so",
        "lib/.hidden.so",
        "bin/e",
        "lib/[x].so",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "lib/sub/loop").symlink_to("..")
    (tmp_path / "lib/dangling.so").symlink_to("nowhere")
    return tmp_path


def names(tree: Path, pattern: str) -> list[str]:
    return sorted(path.removeprefix(f"{tree}/") for path in match_pattern(f"{tree}/{pattern}").paths)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("lib/a.so", ["lib/a.so"]),
        ("lib/*.so", ["lib/.hidden.so", "lib/[x].so", "lib/a.so", "lib/dangling.so"]),
        ("lib/?.so", ["lib/a.so"]),
        ("lib/[ab].so*", ["lib/a.so", "lib/b.so.1"]),
        ("lib/[!a]*.so.1", ["lib/b.so.1"]),
        ("lib/[[]x].so", ["lib/[x].so"]),
        ("lib/**/d.so", ["lib/sub/deep/d.so"]),
        ("lib/**/[a-d].so", ["lib/a.so", "lib/sub/c.so", "lib/sub/deep/d.so"]),
        ("**/e", ["bin/e"]),
        ("**/**/d.so", ["lib/sub/deep/d.so"]),
        ("lib/**/deep/**/d.so", ["lib/sub/deep/d.so"]),
        ("lib/sub/**", ["lib/sub/c.so", "lib/sub/deep/d.so", "lib/sub/loop"]),
        ("*/a.so", ["lib/a.so", "lib64/a.so"]),
        ("lib64/sub/c.so", ["lib64/sub/c.so"]),
        ("./lib//a.so", ["lib/a.so"]),
        ("none/*.so", []),
        ("lib/a.so/*", []),
    ],
)
def test_matches(tree: Path, pattern: str, wanted: list[str]) -> None:
    assert names(tree, pattern) == wanted


def test_directories_are_counted_not_matched(tree: Path) -> None:
    assert match_pattern(f"{tree}/lib/s*").directories == 1
    assert match_pattern(f"{tree}/lib/sub").directories == 1
    assert not match_pattern(f"{tree}/lib/sub").paths


@pytest.mark.parametrize("pattern", ["lib/*.so", "/usr/../lib/a", "/", ""])
def test_only_absolute_paths_without_dotdot(pattern: str) -> None:
    with pytest.raises(ImageError, match="wanted the absolute path of files"):
        match_pattern(pattern)
