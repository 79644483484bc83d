"""`dcss inspect` of servers as Debian has them: workers of nginx, backends of PostgreSQL."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from claim_support import NO_COPIES, ONE_FRAME
from needs_support import needs, tool
from wait_support import wait_at_rest

from dcss.inspect.inspection import inspect
from dcss.inspect.selection import Wanted
from dcss.results import InspectResult

WORKERS = 3
_STARTED = re.compile(r"start (?:worker|cache manager) process (\d+)")  # the cache loader ends after a while
_NGINX = """
daemon off; worker_processes {workers}; pid {directory}/pid; error_log stderr notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    proxy_cache_path {directory}/cache keys_zone=shared:1m;
    server {{ listen unix:{directory}/socket; }}
}}
"""


def assert_verified(result: InspectResult) -> None:
    judged = {claim.claim: claim for claim in result.verify.claims}
    assert judged[ONE_FRAME].holds, judged[ONE_FRAME].detail
    assert judged[NO_COPIES].holds, judged[NO_COPIES].detail
    assert result.verify.verdict == "verified"


@contextmanager
def nginx(directory: Path) -> Iterator[list[int]]:
    """Run nginx; yield the ids of its master and of its workers, which wait for clients."""
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(workers=WORKERS, directory=directory))
    words = [tool("nginx") or "nginx", "-p", str(directory), "-c", str(config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            pids = [server.pid]
            # One more beside the workers looks after the cache.
            while len(pids) < 1 + WORKERS + 1:
                line = server.stderr.readline()
                assert line, "nginx ended before its workers ran"
                pids += map(int, _STARTED.findall(line))
            for pid in pids:
                wait_at_rest(pid)
            yield pids
        finally:
            server.terminate()


@needs("nginx", "frames")
def test_workers_of_nginx_are_verified(tmp_path: Path) -> None:
    with nginx(tmp_path) as pids:
        result = inspect(pids)
        program = inspect(pids, Wanted((tool("nginx") or "",)))
    assert_verified(result)
    assert_verified(program)
    paths = {row.path: row for row in result.objects}
    assert tuple(pids) == paths[os.path.realpath(tool("nginx") or "")].pids
    assert [process.name for process in result.processes] == ["nginx"] * len(pids)


@contextmanager
def postgresql() -> Iterator[Path]:
    """Run a server in a directory of its own, as a user whom it accepts; yield the directory, which has its socket."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
    directory = Path(tempfile.mkdtemp(prefix="dcss-pg-"))
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": "/"}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(directory, user.pw_uid, user.pw_gid)
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    where = ["-D", str(directory / "data")]
    initdb, control = [str(binaries / "initdb"), *where], [str(binaries / "pg_ctl"), *where, "-w"]
    try:
        subprocess.run([*initdb, "-A", "trust", "-U", "tests", "--no-sync"], check=True, **options)
        settings = f"-c listen_addresses='' -c unix_socket_directories={directory}"
        start = [*control, "-t", "600", "-l", str(directory / "log"), "-o", settings, "start"]  # s, for a busy machine
        subprocess.run(start, check=True, **options)
        try:
            yield directory
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, **options)
    finally:
        shutil.rmtree(directory)


@contextmanager
def backends(directory: Path, count: int) -> Iterator[list[int]]:
    """Open sessions that have each read a table; yield the ids of their backends."""
    words = ["psql", "-h", str(directory), "-U", "tests", "-d", "postgres", "-A", "-t", "-q"]
    with ExitStack() as stack:
        pids = []
        for _ in range(count):
            session = stack.enter_context(
                subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            assert session.stdin is not None
            assert session.stdout is not None
            stack.callback(session.stdin.close)
            session.stdin.write("select sum(relpages) >= 0 from pg_class; select pg_backend_pid();\n")
            session.stdin.flush()
            assert session.stdout.readline() == "t\n"
            pids.append(int(session.stdout.readline()))
        yield pids


@pytest.mark.slow
@needs("postgresql", "frames")
def test_backends_of_postgresql_are_verified() -> None:
    with postgresql() as directory, backends(directory, 2) as pids:
        result = inspect(pids)
    assert_verified(result)
    buffers = max((row for row in result.objects if row.path.startswith("/dev/zero")), key=lambda row: row.bytes or 0)
    assert buffers.pids == tuple(pids)
    assert buffers.one_frame_pages
