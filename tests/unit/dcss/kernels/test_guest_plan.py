"""What a Linux guest is told to do: the script that its /init reads, and patterns as find(1) knows them."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcss.config.plan import GuestPlan, LinuxSettings, MountPlan, Step
from dcss.kernels.guest_plan import find_words, plan_script

FILES = (
    "usr/lib/a.so",
    "usr/lib/a.so.1",
    "usr/lib/x/b.so",
    "usr/lib/x/y/c.so",
    "usr/libx/d.so",
    "usr/lib/a+b$.txt",
    "e",
)


def guest(*run: Step, mounts: tuple[MountPlan, ...] = (), dcssblk: tuple[str, ...] = ()) -> GuestPlan:
    return GuestPlan("L", LinuxSettings(), 1 << 28, dcssblk, mounts, "shared", run, "x.yaml:3")


def test_words_are_quoted_for_the_shell() -> None:
    script = plan_script(
        guest(
            Step("exec", ("sh", "-c", "echo 'a b'"), background=True, environment=(("A", "x y"),)),
            Step("read", "/it's"),
            mounts=(MountPlan("dcssblk0", "/", ("ro", "xip")), MountPlan("tmpfs", "/tmp", (), type="tmpfs")),
            dcssblk=("A:B(local)",),
        )
    )
    assert script.splitlines() == [
        "device 'A:B(local)'",
        "file_system dcssblk0 / ext2 ro,dax dax",
        "file_system tmpfs /tmp tmpfs '' page-cache",
        "run background env 'A=x y' sh -c 'echo '\"'\"'a b'\"'\"''",
        "run read_all '/it'\"'\"'s' '/it'\"'\"'s'",
    ]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("/usr/lib/**/*.so*", {"usr/lib/a.so", "usr/lib/a.so.1", "usr/lib/x/b.so", "usr/lib/x/y/c.so"}),
        ("/usr/lib/*.so", {"usr/lib/a.so"}),
        ("/usr/lib/**", set(FILES[:4]) | {"usr/lib/a+b$.txt"}),
        ("/usr/lib/a+b$.txt", {"usr/lib/a+b$.txt"}),
        ("/usr/lib?/[!e].so", {"usr/libx/d.so"}),
        ("/usr/**/x/**/?.so", {"usr/lib/x/b.so", "usr/lib/x/y/c.so"}),
        ("/**/e", {"e"}),
    ],
)
def test_find_finds_what_matches(pattern: str, wanted: set[str], tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found(tmp_path, pattern) == wanted


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/*?["), min_size=1, max_size=12))
def test_a_name_without_wildcards_matches_itself(name: str) -> None:
    _, expression = find_words(f"/{name}")
    # In these characters, Python's expressions differ from basic ones by what needs a backslash.
    assert re.sub(r"\\([.*^$\\])", r"\1", expression) == f"/{name}"


def found(root: Path, pattern: str) -> set[str]:
    start, expression = find_words(pattern)
    words = ["find", f"{root}{start}", "-regextype", "posix-basic", "-type", "f", "-regex", f"{root}{expression}"]
    listed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return {Path(line).relative_to(root).as_posix() for line in listed.splitlines()}
