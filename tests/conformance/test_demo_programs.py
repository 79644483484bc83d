"""The programs of configs/demo-s390x.yaml: what qemu-s390x says of them, and that they are built from their source."""

import subprocess
from pathlib import Path

import pytest
from needs_support import needs

PROGRAMS = Path(__file__).parents[2] / "configs/s390x-programs"
_SECONDS = 300


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["hello"], "hello, from s390x!"),
        (["fib", "20"], "6765"),
        (["sieve", "1000"], "168"),
        (["echo", "a", "b"], "a b"),
        (["compute", "float", "4096"], "float 1586"),
    ],
)
@needs("qemu-s390x")
def test_a_program_says_what_it_says_under_qemu(words: list[str], output: str) -> None:
    command = ["qemu-s390x", str(PROGRAMS / "root/bin" / words[0]), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS)
    assert done.stdout.lower().startswith(output)


@needs("s390x-linux-gnu-gcc")
def test_the_programs_are_those_of_their_source(tmp_path: Path) -> None:
    version = subprocess.run(["s390x-linux-gnu-gcc", "--version"], capture_output=True, text=True, check=True).stdout
    if "(Debian 12.2.0" not in version:
        pytest.skip(f"needs the compiler that they were built with, Debian's gcc 12.2.0: {version.splitlines()[0]}")
    command = ["make", "-s", "-C", str(PROGRAMS / "source"), f"OUT={tmp_path}"]
    subprocess.run(command, check=True, timeout=_SECONDS)
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert built == {path.name: path.read_bytes() for path in (PROGRAMS / "root/bin").iterdir()}
