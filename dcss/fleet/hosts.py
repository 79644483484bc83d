"""How tasks reach hosts: workers of Dask or, without a scheduler, stand-ins on this machine."""

import ipaddress
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from dcss.errors import ConfigError, DcssError, LaunchError
from dcss.host.paths import private_directory, state_directory

Task = Callable[..., Any]
_LOST_SECONDS: Final = 10.0  # a worker that a nanny starts again is back before
_LOOK_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 10
_PLAIN: Final = frozenset({bool, int, float, str, bytes})
_DANGER: Final = (
    "whoever reaches a scheduler or a worker without TLS runs what he likes on the workers (--trust-network says that"
    " nobody else does)"
)


class HostAnswer(NamedTuple):
    """What a task returned on a host, or why it could not be asked."""

    value: Any
    error: str | None = None


class Hosts(Protocol):
    """Hosts that run tasks."""

    @property
    def names(self) -> Sequence[str]:
        """The hosts that can be asked."""

    def call(self, task: Task, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, HostAnswer]:
        """Run a task once on each of these hosts, at the same time, with the host's arguments."""

    def call_beside(self, task: Task, *arguments: object) -> None:
        """Run a task on every host at once, whatever it is doing; hosts that cannot be asked are passed over."""

    def close(self) -> None:
        """Let go of the hosts; what runs there stays."""


class LocalHosts:
    """Stand-ins: each has directories of its own, in which it keeps what a host keeps."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._root = local_root()

    def call(self, task: Task, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, HostAnswer]:
        """Run a task for each host in a thread."""
        if not arguments:
            return {}
        with ThreadPoolExecutor(len(arguments)) as pool:
            futures = {name: pool.submit(self._answer, task, name, given) for name, given in arguments.items()}
            return {name: future.result() for name, future in futures.items()}

    def _answer(self, task: Task, name: str, given: tuple[Any, ...]) -> HostAnswer:
        if name not in self.names:
            return HostAnswer(None, "is not one of the hosts")
        directory = sha256(name.encode()).hexdigest()[:12]  # names of hosts may be addresses
        try:
            return HostAnswer(task(str(private_directory(self._root / directory)), *given))
        except (DcssError, OSError) as error:
            return HostAnswer(None, str(error))

    def call_beside(self, task: Task, *arguments: object) -> None:
        """Run it here: the hosts are threads of this process."""
        task(*arguments)

    def close(self) -> None:
        """Do nothing."""


class DaskHosts:
    """Workers of a Dask scheduler, by their names. Each task is pinned to its host."""

    def __init__(self, scheduler: str, *, trusted: bool) -> None:
        self._distributed: Any = import_module("distributed")
        # What differs in versions of other packages mostly works, and Dask warns of it in a table.
        warnings.filterwarnings("ignore", category=self._distributed.versions.VersionMismatchWarning)
        for name in ("distributed", "distributed.client", "distributed.core"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what is lost is said in one line, without tracebacks
        self._scheduler, self._calls = scheduler, count()
        self._check_certificate()
        try:
            self._client: Any = self._distributed.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise LaunchError(f"--scheduler: {scheduler} does not answer ({error}); is it running?") from error
        if not trusted:
            self._check_peers()

    @property
    def names(self) -> tuple[str, ...]:
        """The workers that the scheduler has now."""
        return tuple(sorted(self._workers()))

    def _workers(self) -> dict[str, Any]:
        """Return the names that Dask has for workers, which may be numbers."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return {str(worker["name"]): worker["name"] for worker in workers}

    def call(self, task: Task, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, HostAnswer]:
        """Submit the task for each host, and wait; a host whose worker is lost and does not come back is said to be."""
        number, known = next(self._calls), self._workers()
        answers = {name: HostAnswer(None, "has no worker") for name in arguments if name not in known}
        futures = {
            name: self._client.submit(
                task,
                None,
                *given,
                key=f"dcss-{task.__name__}-{name}-{self._client.id}-{number}",
                workers=[known[name]],
                allow_other_workers=False,
                retries=1,
                pure=False,
            )
            for name, given in arguments.items()
            if name in known
        }
        lost_seconds = dict.fromkeys(futures, 0.0)
        while futures:
            self._wait(list(futures.values()))
            alive = self.names
            for name, future in list(futures.items()):
                lost_seconds[name] = 0.0 if name in alive else lost_seconds[name] + _LOOK_SECONDS
                if future.done():
                    answers[name] = self._outcome(future)
                elif lost_seconds[name] >= _LOST_SECONDS:
                    future.cancel()
                    answers[name] = HostAnswer(None, "lost its worker")
                else:
                    continue
                del futures[name]
        return {name: answers[name] for name in arguments}

    def call_beside(self, task: Task, *arguments: object) -> None:
        """Have each worker's event loop run the task, beside what its threads do."""
        with suppress(OSError, TimeoutError, self._distributed.core.CommClosedError):
            self._client.run(task, *arguments, on_error="ignore")

    def _check_certificate(self) -> None:
        """Raise ConfigError where TLS is asked for and Dask's configuration has no certificate for it."""
        if not self._scheduler.startswith("tls://"):
            return
        try:
            found = self._distributed.Security().get_connection_args("client").get("ssl_context")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--scheduler: {self._scheduler}: found certificates that do not serve: {error}"
            ) from error
        if found is None:
            raise ConfigError(
                f"--scheduler: {self._scheduler}: found no certificate in Dask's configuration, wanted"
                " distributed.comm.tls.ca-file, .client.cert and .client.key (docs/fleet.md)"
            )

    def _check_peers(self) -> None:
        """Raise ConfigError where the scheduler or a worker can be reached from other machines without TLS."""
        info = self._client.scheduler_info(n_workers=-1)
        found = {"the scheduler": info["address"]}
        found |= {f"worker {worker['name']}": address for address, worker in info["workers"].items()}
        for name, address in found.items():
            if not _is_safe(address):
                self.close()
                raise ConfigError(
                    f"--scheduler: {self._scheduler}: found {name} at {address}, wanted tls://…, or a loopback address"
                    f" (dask scheduler --host 127.0.0.1): {_DANGER}"
                )

    def _wait(self, futures: list[Any]) -> None:
        try:
            self._distributed.wait(futures, timeout=_LOOK_SECONDS)
        except TimeoutError:
            pass
        except Exception as error:
            if self._client.status != "running":
                raise self._lost() from error
        if self._client.status != "running":
            raise self._lost()

    def _outcome(self, future: Any) -> HostAnswer:
        if self._client.status != "running":
            raise self._lost()
        error = future.exception()
        if error is not None:
            return HostAnswer(None, str(error) or type(error).__name__)
        value = future.result()
        return (
            HostAnswer(value) if is_plain(value) else HostAnswer(None, "answered with something else than plain data")
        )

    def _lost(self) -> LaunchError:
        return LaunchError(f"--scheduler: {self._scheduler} is lost; what is up stays up: start the command again")

    def close(self) -> None:
        """Disconnect."""
        self._client.close(timeout=1)


def open_hosts(scheduler: str | None, names: Sequence[str], *, trusted: bool, stack: ExitStack) -> Hosts:
    """Return the hosts of a scheduler, or stand-ins of these names; `stack` closes them. Raises ConfigError."""
    hosts: Hosts
    if scheduler is None:
        hosts = LocalHosts(names)
    else:
        check_scheduler(scheduler, trusted=trusted)
        hosts = DaskHosts(scheduler, trusted=trusted)
    stack.callback(hosts.close)
    return hosts


def check_scheduler(address: str, *, trusted: bool) -> None:
    """Raise ConfigError where anybody on the way could start systems, or Dask is not installed."""
    if not trusted and not _is_safe(address):
        raise ConfigError(f"--scheduler: found {address}, wanted tls://…, or a loopback address: {_DANGER}")
    if find_spec("distributed") is None:
        raise ConfigError("--scheduler: found no Dask, wanted the extra `fleet`: pip install 'dcss-emulator[fleet]'")


def _is_safe(address: str) -> bool:
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    return parts.scheme in {"tls", "inproc"} or _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_plain(value: object) -> bool:
    """Return True for what tasks answer with: numbers, text, lists of such, and mappings by text."""
    match value:
        case list() | tuple():
            return all(map(is_plain, value))
        case dict():
            return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
        case _:
            return value is None or type(value) in _PLAIN


def local_root() -> Path:
    """Return where stand-ins and the records of fleets are."""
    return private_directory(state_directory() / ".fleet")
