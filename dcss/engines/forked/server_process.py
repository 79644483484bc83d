"""The fork server's process, which can be begun before CP is imported: that takes both about as long."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from dcss.errors import LaunchError
from dcss.host.libc import OVERWRITE_FREED_MEMORY
from dcss.host.mark import VARIABLE, Mark
from dcss.host.rlimits import explain_fork, raise_soft_descriptor_limit

# By the name of their engine.
SERVER_MODULES = {"process": "dcss.engines.process.forkserver", "s390x": "dcss.engines.s390x.forkserver"}
_PACKAGES = {SERVER_MODULES["s390x"]: "unicorn"}  # what else than this source tree they need
_ROOT = Path(__file__).resolve().parents[3]
# Neither site nor the environment can put anything into a guest: only the standard library, this source tree, and the
# one package that is named.
_PROGRAM = "import sys; {packages}sys.path.insert(0, {root!r}); from {module} import main; main()"
_IMPORT = "sys.path.append({directory!r}); import {package}; del sys.path[-1]; "


class ServerProcess:
    """A fork server that has been exec'd, which is `main` of `module`, and CP's end of its socket.

    `mark` is in its environment and its guests'. Until it is sent CP's log, its faults go to standard error. It must be
    started in the main thread, and ends with this process. Raises LaunchError.
    """

    def __init__(self, module: str, mark: Mark) -> None:
        self.began = time.monotonic()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setblocking(False)
        with theirs:
            program = _PROGRAM.format(packages=_imports_of(module), root=str(_ROOT), module=module)
            command = [sys.executable, "-I", "-S", "-c", program, str(theirs.fileno()), str(os.getpid())]
            # A session of its own: Ctrl-C reaches CP alone, which then takes its guests down in order.
            try:
                self.process = subprocess.Popen(
                    command,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=2,
                    stderr=2,
                    # Source and bytecode that it reads must not stay behind: a segment may hold these files.
                    env={**os.environ, **OVERWRITE_FREED_MEMORY, VARIABLE: str(mark)},
                    start_new_session=True,
                )
            except OSError as error:
                self.control.close()
                raise LaunchError(f"the fork server cannot be started: {explain_fork(error)}") from error

    @classmethod
    def of(cls, module: str, mark: Mark) -> "ServerProcess":
        """Return the server that was begun with this module and mark, once; else start one."""
        begun = _begun.pop((module, mark), None)
        return cls(module, mark) if begun is None else begun

    def abandon(self) -> None:
        """End a server that no engine has taken."""
        self.control.close()
        if self.process.returncode is None:
            self.process.terminate()
            self.process.wait()


def _imports_of(module: str) -> str:
    """Return the statements that import the package that a server needs; nothing where it is not installed."""
    package = _PACKAGES.get(module)
    if package is None:
        return ""
    import importlib.util

    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return ""
    return _IMPORT.format(directory=str(Path(found.origin).parents[1]), package=package)


_begun: dict[tuple[str, Mark], ServerProcess] = {}  # that no engine has taken yet


@contextmanager
def servers_begun(system: str, engines: Collection[str]) -> Iterator[None]:
    """Start the servers that these engines of `system` take in this block, and end each one that none takes."""
    raise_soft_descriptor_limit()  # the servers inherit it
    mark = Mark.of_this_process(system)
    wanted = [(module, mark) for engine, module in SERVER_MODULES.items() if engine in engines]
    try:
        for each in wanted:
            _begun[each] = ServerProcess(*each)
        yield
    finally:
        for each in wanted:
            left = _begun.pop(each, None)
            if left is not None:
                left.abandon()
