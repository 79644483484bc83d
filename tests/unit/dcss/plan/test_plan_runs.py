"""What a traced run touches: by page tables before they go, and by the system calls that read."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dcss.abi.page import PAGE_SIZE
from dcss.errors import LaunchError
from dcss.host import traced_calls
from dcss.host.traced_run import trace_run
from dcss.plan.inputs import process_files, runs
from dcss.plan.inputs.consumer import Consumer, UsedFile
from dcss.plan.inputs.runs import run_consumer

_WINDOW = 64  # pages that a program maps; the kernel may put those around the one asked for into the page table
_PAGES = 200
_BEGIN = """
import ctypes, mmap, os, signal, subprocess, sys, threading
path = {path!r}
file = os.open(path, os.O_RDONLY)
def touched(page, pages={window}):
    area = mmap.mmap(file, pages << 12, mmap.MAP_PRIVATE, mmap.PROT_READ, offset=page // 64 << 18)
    area.madvise(mmap.MADV_RANDOM)
    area[page % 64 << 12]
    return area
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that guests may have in a segment, though it lies in /tmp."""
    monkeypatch.setattr(process_files, "GUESTS_OWN", frozenset({b"dev", b"proc", b"sys"}))
    with TemporaryDirectory() as directory:
        path = Path(directory, "file with a blank")
        path.write_bytes(os.urandom(_PAGES * PAGE_SIZE))
        yield path


def _run(path: Path, program: str, notes: list[str] | None = None) -> Consumer:
    words = [sys.executable, "-c", _BEGIN.format(path=str(path), window=_WINDOW) + program]
    return run_consumer(words, [] if notes is None else notes)


def _found(consumer: Consumer, path: Path) -> UsedFile | None:
    found = [file for file in consumer.files if os.fsencode(path) in file.paths]
    return found[0] if found else None


def _pages(consumer: Consumer, path: Path) -> int:
    file = _found(consumer, path)
    assert file is not None, [each.paths for each in consumer.files]
    assert file.touched_bytes is not None
    return file.touched_bytes // PAGE_SIZE


needs_calls = pytest.mark.skipif(
    traced_calls.unknown_because() is not None, reason=traced_calls.unknown_because() or ""
)


@needs_calls
@pytest.mark.parametrize(
    ("program", "pages"),
    [
        ("os.read(file, 5 << 12)", 5),
        ("os.lseek(file, 4095, 0); os.read(file, 2)", 2),
        ("os.pread(file, 3 << 12, 7 << 12)", 3),
        ("os.readv(file, [bytearray(1 << 12), bytearray(2 << 12)])", 3),
        ("os.preadv(file, [bytearray(1 << 12)] * 4, 9 << 12)", 4),
        ("os.lseek(file, 1 << 12, 0); os.sendfile(os.open('/dev/null', 1), file, 20 << 12, 2 << 12)", 2),
        ("os.sendfile(os.open('/dev/null', 1), file, None, 6 << 12)", 6),
        ("os.read(file, 1 << 12); os.pread(file, 1 << 12, 0); os.pread(file, 1, 100 << 12)", 2),
        ("os.pread(file, 1 << 30, 190 << 12)", 10),
        ("os.read(file, 1 << 12); os.dup2(os.open('/dev/zero', os.O_RDONLY), file); os.read(file, 9 << 12)", 1),
        ("os.read(file, 1 << 12); os.fork() or os.pread(file, 1 << 12, 50 << 12)", 2),
        ("threading.Thread(target=os.pread, args=(file, 2 << 12, 0)).start()", 2),
        ("os.dup2(os.open('/dev/null', os.O_WRONLY), 1); os.execvp('head', ['head', '-c', '8192', path])", 2),
    ],
)
def test_what_is_read_counts_by_the_page(file: Path, program: str, pages: int) -> None:
    assert _pages(_run(file, program), file) == pages


@pytest.mark.parametrize(
    "program",
    [
        "kept = touched(70)",
        "kept = touched(70); os._exit(0)",
        "kept = touched(70); os.kill(os.getpid(), signal.SIGKILL)",
        "kept = touched(70); signal.signal(signal.SIGSEGV, signal.SIG_DFL); ctypes.string_at(0)",
        pytest.param("touched(70).close()", marks=needs_calls),
        pytest.param("kept = touched(70); os.execvp('true', ['true'])", marks=needs_calls),
        "pid = os.fork(); kept = pid or touched(70); pid and os.wait()",
        "kept = touched(70); threading.Thread(target=os._exit, args=(0,)).start(); signal.pause()",
        "kept = touched(70); os.setsid() if os.fork() == 0 else None",
    ],
)
def test_pages_that_are_mapped_count_however_they_go(file: Path, program: str) -> None:
    assert 1 <= _pages(_run(file, program), file) <= _WINDOW


def test_what_the_run_itself_writes_does_not_count(file: Path) -> None:
    made = file.with_name("made")
    program = f"""
out = os.open({str(made)!r}, os.O_RDWR | os.O_CREAT)
os.write(out, bytes(8192)); os.pread(out, 8192, 0); os.pread(file, 4096, 0)
os.mkdir(path + ".d"); gone = os.open(path + ".d/x", os.O_RDWR | os.O_CREAT); os.write(gone, b"x" * 4096)
os.unlink(path + ".d/x"); os.pread(gone, 4096, 0)
"""
    notes: list[str] = []
    consumer = _run(file, program, notes)
    assert _pages(consumer, file) == 1
    assert _found(consumer, made) is None
    assert notes == [f"left out, since the run wrote or removed it: {made}"]


def test_how_a_run_failed_is_noted(file: Path) -> None:
    notes: list[str] = []
    _run(file, "sys.exit(3)", notes)
    assert [note.partition("; ")[0].rpartition(": ")[2] for note in notes] == ["it ended with status 3"]
    notes.clear()
    _run(file, "os.kill(os.getpid(), signal.SIGTERM)", notes)
    assert [note.partition("; ")[0].rpartition(": ")[2] for note in notes] == ["it ended by signal 15"]


def test_a_run_that_stops_itself_goes_on_when_it_is_continued(file: Path) -> None:
    program = """
stopped = subprocess.Popen(["sh", "-c", "kill -STOP $$; exit 7"])
os.waitpid(stopped.pid, os.WUNTRACED)
os.kill(stopped.pid, signal.SIGCONT)
sys.exit(stopped.wait())
"""
    notes: list[str] = []
    _run(file, program, notes)
    assert "status 7" in notes[0]


def test_signals_reach_the_programs(file: Path) -> None:
    notes: list[str] = []
    program = "signal.signal(signal.SIGUSR1, lambda *_: os._exit(9)); os.kill(os.getpid(), signal.SIGUSR1)"
    _run(file, program + "; signal.pause()", notes)
    assert "status 9" in notes[0]


def test_the_output_of_a_run_goes_to_standard_error(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _run(file, "print('said')")
    assert capfd.readouterr() == ("", "said\n")


def test_a_machine_whose_calls_are_unknown_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "unknown_because", lambda: "the numbers of system calls of vax are not known")
    notes: list[str] = []
    _run(file, "kept = touched(70)", notes)
    assert "not known: the numbers of system calls of vax" in notes[0]


def test_a_program_that_cannot_be_executed_is_one_line(file: Path) -> None:
    file.chmod(0o755)
    with pytest.raises(LaunchError, match="cannot be started: Exec format error"):
        run_consumer([str(file)], [])


@needs_calls
def test_what_starts_the_command_is_no_part_of_the_run() -> None:
    """A start that is traced too early shows its own execve, in some runs of several."""
    calls: list[str] = []

    class Calls:
        def calling(self, tid: int, call: str, arguments: Sequence[int]) -> None:
            calls.append(call)

        def ending(self, tid: int) -> None:
            calls.append("end")

    for _ in range(20):
        trace_run(["true"], Calls())
    assert calls.count("end") == 20
    assert "execve" not in calls
