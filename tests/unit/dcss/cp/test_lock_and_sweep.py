"""Directories, the lock and the sweep: with real processes where the claim is about processes."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import objects_of, private_directories, unique_system

from dcss.cp.lock import SystemLock
from dcss.cp.sweep import sweep, sweep_all
from dcss.errors import DcssError, SystemBusyError
from dcss.host.paths import runtime_directory, state_directory

# A CP in a process of its own: publishes one segment, says so, and waits to be killed.
CP_PROCESS = textwrap.dedent(
    """
    import os, sys
    from cp_support import define, filler
    from cp_support import BlockingCp
    cp = BlockingCp(sys.argv[1])
    cp.publish(define("LIB", "20000-2000F SW"), filler(b"content"))
    (cp.lock.directory / "socket").write_text("x")
    print("ready", flush=True)
    sys.stdin.read()
    """
)


@pytest.fixture(autouse=True)
def directories() -> Iterator[Path]:
    with private_directories() as directory:
        yield directory


def start_cp(system: str, **environment: str) -> subprocess.Popen[str]:
    paths = [entry for entry in sys.path if entry]
    process = subprocess.Popen(
        [sys.executable, "-c", CP_PROCESS, system],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_directories_are_private(directories: Path) -> None:
    assert runtime_directory() == directories / "xdg_runtime_dir" / "dcss"
    assert state_directory() == directories / "xdg_state_home" / "dcss"
    assert runtime_directory().stat().st_mode & 0o777 == 0o700
    assert state_directory().stat().st_mode & 0o777 == 0o700


def test_state_directory_falls_back_to_home(directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(directories))
    assert state_directory() == directories / ".local" / "state" / "dcss"


@pytest.mark.parametrize("value", [None, "", "relative", "/nonexistent/directory"])
def test_runtime_directory_falls_back(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    uid = os.geteuid()
    fallbacks = {Path(f"/run/user/{uid}/dcss"), Path(f"/tmp/dcss-{uid}")}
    were_there = {path for path in fallbacks if path.exists()}
    found = runtime_directory()
    if found not in were_there:
        found.rmdir()
    assert found in fallbacks


def test_directory_that_others_may_enter_is_refused(directories: Path) -> None:
    path = directories / "xdg_runtime_dir" / "dcss"
    path.mkdir()
    path.chmod(0o755)
    with pytest.raises(DcssError, match=r"found drwxr-xr-x .* wanted a directory .* chmod 700"):
        runtime_directory()


def test_symbolic_link_in_place_of_the_directory_is_refused(directories: Path) -> None:
    (directories / "elsewhere").mkdir(mode=0o700)
    (directories / "xdg_runtime_dir" / "dcss").symlink_to(directories / "elsewhere")
    with pytest.raises(DcssError, match="found lrwxrwxrwx"):
        runtime_directory()


@pytest.mark.parametrize("system", ["", ".hidden", "a/b", "..", "a b", "x" * 65, "ä", "a\n"])
def test_bad_system_names(system: str) -> None:
    with pytest.raises(ValueError, match="system name"):
        SystemLock(system)


def test_second_lock_is_refused_and_names_the_holder() -> None:
    with SystemLock("demo"), pytest.raises(SystemBusyError, match=rf"demo: .* \(process {os.getpid()}\)"):
        SystemLock("demo")
    SystemLock("demo").release()
    assert list(runtime_directory().iterdir()) == []


def test_a_lock_that_is_given_up_leaves_what_people_should_read_and_nothing_else() -> None:
    system = unique_system()
    for keep, left in (((), None), (("cp.log",), ["cp.log", "pid"])):
        lock = SystemLock(system)
        for name in ("cp.log", "socket", "G.log"):
            (lock.directory / name).write_text("x")
        lock.keep = keep
        for _ in range(2):
            lock.release()
        found = sorted(path.name for path in lock.directory.iterdir()) if lock.directory.exists() else None
        assert found == left
    SystemLock(system).release()


def test_locks_of_other_systems_are_free() -> None:
    with SystemLock("a"), SystemLock("a.b"), SystemLock("ab"):
        assert len(list(runtime_directory().iterdir())) == 3


def test_killed_cp_is_swept_by_the_next_start_only_for_its_own_system() -> None:
    system, other = unique_system("a"), unique_system("a")
    dead, alive = start_cp(system), start_cp(other)
    kill(dead)
    assert objects_of(system) == [f"dcss.{system}.LIB.1"]
    with SystemLock(system) as lock:
        removed = sweep(lock)
        assert set(removed) == {f"/dcss.{system}.LIB.1", str(lock.directory / "socket")}
        assert [path.name for path in lock.directory.iterdir()] == ["pid"]
    assert objects_of(system) == []
    assert objects_of(other) == [f"dcss.{other}.LIB.1"]
    with pytest.raises(SystemBusyError, match=str(alive.pid)):
        SystemLock(other)
    kill(alive)
    assert sweep_all(other) == {other: (f"/dcss.{other}.LIB.1", str(runtime_directory() / other / "socket"))}
    assert list(runtime_directory().iterdir()) == []


def test_what_a_system_left_is_swept_alone_and_what_is_no_systems_stays() -> None:
    one, other, foreign = (
        runtime_directory() / name for name in (unique_system("a"), unique_system("b"), "No System!")
    )
    for directory in (one, other, foreign):
        directory.mkdir(mode=0o700)
        (directory / "socket").write_text("x")
    assert sweep_all(one.name) == {one.name: (str(one / "socket"),)}
    assert sweep_all(foreign.name) == {}
    swept = sweep_all()  # what dead systems of other tests left may be among it
    assert swept[other.name] == (str(other / "socket"),)
    assert not {one.name, foreign.name} & swept.keys()
    assert [path.name for path in runtime_directory().iterdir()] == [foreign.name]


def test_sweep_leaves_a_live_namesake_with_another_runtime_directory_alone(directories: Path) -> None:
    system = unique_system()
    elsewhere = directories / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    namesake = start_cp(system, XDG_RUNTIME_DIR=str(elsewhere))
    with SystemLock(system) as lock:
        assert sweep(lock) == ()
    sweep_all()
    assert objects_of(system) == [f"dcss.{system}.LIB.1"]
    kill(namesake)
    with SystemLock(system) as lock:
        assert sweep(lock) == (f"/dcss.{system}.LIB.1",)


def test_prefixes_are_not_confused() -> None:
    system = unique_system()
    neighbours = [start_cp(f"{system}{suffix}") for suffix in (".b", "b", ".LIB")]
    for neighbour in neighbours:
        kill(neighbour)
    with SystemLock(system) as lock:
        assert sweep(lock) == ()
    assert len(objects_of(f"{system}.b") + objects_of(f"{system}b") + objects_of(f"{system}.LIB")) == 3
    swept = sweep_all()
    assert [len(swept[f"{system}{suffix}"]) for suffix in (".b", "b", ".LIB")] == [2, 2, 2]


def test_stale_pid_file_with_a_reused_pid_does_not_hold_the_lock() -> None:
    dead = start_cp("demo")
    dead.send_signal(signal.SIGKILL)
    kill(dead)
    (runtime_directory() / "demo" / "pid").write_text(f"{os.getpid()}\n")  # as if the number were given again
    with SystemLock("demo") as lock:
        sweep(lock)


def test_foreign_files_in_dev_shm_are_left(tmp_path: Path) -> None:
    system = unique_system()
    link = Path("/dev/shm", f"dcss.{system}.LIB.1")
    target = tmp_path / "target"
    target.write_text("keep")
    link.symlink_to(target)
    with SystemLock(system) as lock:
        assert sweep(lock) == ()
    assert target.read_text() == "keep"
    link.unlink()
