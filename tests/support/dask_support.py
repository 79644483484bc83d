"""A scheduler of Dask and its workers, each a process with directories of its own, and certificates for TLS."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from cli_support import Dcss

LOOPBACK = ("--host", "127.0.0.1")


class Dask:
    """What runs, until `close`: each process has the `options`, and `environment` beside the user's."""

    def __init__(
        self, dcss: Dcss, *, options: Sequence[str] = LOOPBACK, environment: Mapping[str, str] | None = None
    ) -> None:
        if find_spec("distributed") is None:
            pytest.skip("Dask is not installed (extra fleet)")
        self._dcss = dcss
        self._options = options
        self._environment = environment or {}
        self._processes: list[subprocess.Popen[str]] = []
        scheduler = self._start({}, "scheduler", *options, "--port", "0", "--no-dashboard")
        assert scheduler.stderr is not None
        self.address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at:" in line)

    def worker(
        self,
        name: str,
        environment: Mapping[str, str] | None = None,
        *,
        prefix: Sequence[str] = (),
        options: Sequence[str] | None = None,
    ) -> "subprocess.Popen[str]":
        """Start a worker behind `prefix`, and return it when the scheduler knows it. `options` replace those of all."""
        directories = {}
        for variable, short in (("XDG_RUNTIME_DIR", "r"), ("XDG_STATE_HOME", "s"), ("XDG_CACHE_HOME", "c")):
            path = self._dcss.home / f"{name}-{short}"
            path.mkdir(mode=0o700, exist_ok=True)
            directories[variable] = str(path)
        words = ["worker", self.address, "--name", name, "--nthreads", "2", "--no-nanny", "--no-dashboard"]
        words += self._options if options is None else options
        process = self._start({**directories, **(environment or {})}, *words, prefix=prefix)
        assert process.stderr is not None
        for line in process.stderr:
            if "Registered to" in line:
                return process
        raise AssertionError(f"worker {name} did not start")

    def _start(
        self, environment: Mapping[str, str], *arguments: str, prefix: Sequence[str] = ()
    ) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "dask", *arguments],
            env={**self._dcss.environment, "PYTHONUNBUFFERED": "1", **self._environment, **environment},
            cwd=self._dcss.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def kill_scheduler(self) -> None:
        """Kill the scheduler alone."""
        self._processes[0].kill()

    def close(self) -> None:
        """Kill all."""
        for process in reversed(self._processes):
            process.kill()
            process.communicate()


def make_certificate(directory: Path) -> dict[str, str]:
    """Make a certificate that is its own authority; return what Dask's configuration takes from the environment."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=dcss"]
    subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    roles = ("SCHEDULER", "WORKER", "CLIENT")
    return {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        f"{tls}CA_FILE": str(certificate),
        **{f"{tls}{role}__CERT": str(certificate) for role in roles},
        **{f"{tls}{role}__KEY": str(key) for role in roles},
    }
