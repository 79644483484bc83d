"""Reading /proc of processes that are gone, closed, or have children."""

import mmap
import os
import pickle
import signal
import subprocess
import sys
import time
from errno import EACCES, EIO, ENOENT, EPERM, ESRCH
from pathlib import Path

import pytest
from needs_support import needs
from segment_support import Stage, order, without_privilege
from wait_support import LIMIT_SECONDS

from dcss.account.machine import free_memory_bytes, parse_per_cpu_pages
from dcss.account.maps import read_maps
from dcss.account.pagemap import Pagemap
from dcss.account.proc import ProcessGoneError, family, proc_errors, read_proc, read_whole
from dcss.account.smaps import read_rollup
from dcss.errors import LaunchError, MeasurementDeniedError

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def zombie() -> object:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pid
    os.waitpid(pid, 0)


def test_process_that_is_gone() -> None:
    done = subprocess.Popen([sys.executable, "-S", "-c", ""])
    done.wait()
    with pytest.raises(ProcessGoneError, match=f"process {done.pid} ended while /proc/{done.pid}/maps was read"):
        read_maps(done.pid)
    assert family([done.pid]) == (done.pid,)


def test_zombie_has_no_books(zombie: int) -> None:
    with pytest.raises(LaunchError, match=f"process {zombie} ended"):
        read_maps(zombie)
    with pytest.raises(LaunchError):
        read_rollup(zombie)
    with pytest.raises(LaunchError), Pagemap(zombie) as pagemap:
        pagemap.read(1000, 10)


def test_gone_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ProcessGoneError(12, "maps")))
    assert (error.pid, error.book, str(error)) == (12, "maps", str(ProcessGoneError(12, "maps")))


@pytest.mark.parametrize("number", [EACCES, EPERM])
def test_a_zombie_that_hides_its_books_is_gone_and_not_denied(zombie: int, number: int) -> None:
    """The books of what has no memory any more are root's."""
    with pytest.raises(ProcessGoneError, match=f"process {zombie} ended"), proc_errors(zombie, "pagemap"):
        raise OSError(number, os.strerror(number))
    with pytest.raises(ProcessGoneError), proc_errors(1 << 22, "pagemap"):
        raise OSError(number, os.strerror(number))
    with pytest.raises(MeasurementDeniedError), proc_errors(os.getpid(), "pagemap"):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [ENOENT, ESRCH])
def test_books_that_are_not_there_mean_that_the_process_is_gone(number: int) -> None:
    with pytest.raises(ProcessGoneError), proc_errors(os.getpid(), "pagemap"):
        raise OSError(number, os.strerror(number))


def test_another_error_of_a_book_is_passed_on() -> None:
    with pytest.raises(OSError, match="Input/output error"), proc_errors(os.getpid(), "pagemap"):
        raise OSError(EIO, os.strerror(EIO))


@needs("root")
def test_books_of_another_user_are_closed() -> None:
    def look() -> None:
        read_proc(1, "pagemap")

    with pytest.raises(MeasurementDeniedError, match="/proc/1/pagemap: Permission denied"):
        without_privilege(look)


def test_family_has_children_and_their_children() -> None:
    code = "import os, signal; p = os.fork(); p or os.fork(); p or os.write(1, b'x'); signal.pause()"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.read(1) == b"x"
        found = family([parent.pid])
        assert len(found) == 3
        assert found[0] == parent.pid
        os.killpg(parent.pid, signal.SIGKILL)


def test_family_names_each_once() -> None:
    with Stage() as stage:
        guest = stage.guest([order("storage", pages=1)])
        assert family([stage.server.pid, *guest.pids]) == (stage.server.pid, *guest.pids)


def test_per_cpu_pages() -> None:
    assert parse_per_cpu_pages((FIXTURES / "zoneinfo-6.18.txt").read_bytes()) == 3 + 1523 + 210


def test_free_memory_follows_what_is_taken_and_given_back() -> None:
    taken_bytes = 384 << 20
    errors = []
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:  # others use this machine, too: one quiet moment is enough
        before = free_memory_bytes()
        with mmap.mmap(-1, taken_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE):
            held = free_memory_bytes()
        errors.append((abs(before - held - taken_bytes), abs(before - free_memory_bytes())))
        if max(errors[-1]) < taken_bytes // 6:
            return
    pytest.fail(f"wanted errors under {taken_bytes // 6} once, found {errors}")


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, 4097, 200_000])
def test_a_book_is_read_to_its_end(tmp_path: Path, size_bytes: int) -> None:
    text = bytes(range(256)) * (size_bytes // 256 + 1)
    (tmp_path / "book").write_bytes(text[:size_bytes])
    assert read_whole(str(tmp_path / "book")) == text[:size_bytes]
