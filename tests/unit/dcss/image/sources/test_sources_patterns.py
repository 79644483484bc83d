import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dcss.errors import ImageError
from dcss.image.sources.patterns import Exclusion, PathPattern, match_pattern, match_patterns


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


def test_patterns_together_match_what_each_matches_alone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = [f"{tree}/{each}" for each in ("**/e", "lib/**/[a-d].so", "**/**/d.so", "*/a.so", "lib/sub/**", "no/**")]
    alone = [match_pattern(pattern) for pattern in patterns]
    listed: list[str] = []
    plain = os.scandir

    def scandir(path: str) -> "AbstractContextManager[Iterator[os.DirEntry[str]]]":
        listed.append(path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    together = match_patterns([*patterns[:3], "relative/*", *patterns[3:]])
    assert str(together.pop(3)) == "wanted the absolute path of files, without .."
    assert together == alone
    assert len(listed) == len(set(listed)), "a directory was listed more than once"


def test_directories_are_counted_not_matched(tree: Path) -> None:
    assert match_pattern(f"{tree}/lib/s*").directories == {f"{tree}/lib/sub"}
    assert match_pattern(f"{tree}/lib/sub").directories == {f"{tree}/lib/sub"}
    assert not match_pattern(f"{tree}/lib/sub").paths


@pytest.mark.parametrize("pattern", ["lib/*.so", "/usr/../lib/a", "/", ""])
def test_only_absolute_paths_without_dotdot(pattern: str) -> None:
    with pytest.raises(ImageError, match="wanted the absolute path of files"):
        match_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b", "/a/b/c/d", True),
        ("/a/b", "/a/bc", False),
        ("/a/b", "/a", False),
        ("/a/*.so", "/a/x.so", True),
        ("/a/*.so", "/a/b/x.so", False),
        ("/a/**/*.so", "/a/x.so", True),
        ("/a/**/*.so", "/a/b/c/x.so", True),
        ("/a/**/b/**/c", "/a/b/c", True),
        ("/a/**/b/**/c", "/a/x/b/y/z/c/below", True),
        ("/a/**/b/**/c", "/a/c/b", False),
        ("/a/**", "/a/b", True),
        ("/a/**", "/a", False),
        ("/**/test*", "/usr/lib/tests/x.py", True),
        ("/**/**/x", "/x", True),
    ],
)
def test_what_an_exclusion_covers(pattern: str, path: str, covered: bool) -> None:
    exclusion = Exclusion([PathPattern(pattern)])
    assert exclusion.covers(path) is covered
    assert exclusion.unused() == ([] if covered else [pattern])
