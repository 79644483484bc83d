"""Hosts that are workers of Dask: those of a scheduler or, without one, of a cluster on this machine alone."""

import ipaddress
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import count, islice
from time import monotonic
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from dcss.errors import ConfigError, LaunchError
from dcss.fleet.hosts import HostAnswer, Task, is_plain
from dcss.fleet.local_cluster import dask, start_stand_ins

_LOST_SECONDS: Final = 10.0  # a worker that a nanny starts again is back before
_LOOK_SECONDS: Final = 1.0
ORDERS_AT_ONCE: Final = 3  # of one host: one that it works on, one that has arrived, one on its way
_CONNECT_SECONDS: Final = 10
_NO_BASES: Final[Mapping[str, str]] = MappingProxyType({})
_DANGER: Final = (
    "whoever reaches a scheduler or a worker without TLS runs what he likes on the workers (--trust-network says that"
    " nobody else does)"
)


class DaskHosts:
    """Workers of a Dask scheduler, by their names. Each task is pinned to its host.

    Those of this machine that stand in for hosts have `bases`: by name, the directory in which each keeps what a host
    keeps.
    """

    def __init__(self, scheduler: str, *, trusted: bool, bases: Mapping[str, str] = _NO_BASES) -> None:
        self._distributed, self._bases = dask("--scheduler"), bases
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
        answers = dict(self.feed(task, {name: iter([given]) for name, given in arguments.items()}))
        return {name: answers[name] for name in arguments}

    def feed(self, task: Task, orders: Mapping[str, Iterator[tuple[Any, ...]]]) -> Iterator[tuple[str, HostAnswer]]:
        """Keep each host busy with a few orders, and yield each answer when it is there."""
        known, number = self._workers(), next(self._calls)
        keys = (f"dcss-{task.__name__}-{self._client.id}-{number}-{order}" for order in count())
        given = {name: each for name, each in orders.items() if name in known}
        yield from ((name, HostAnswer(None, "has no worker")) for name in orders if name not in known)
        running: dict[Any, str] = {}
        seen = dict.fromkeys(given, monotonic())

        def submit(name: str, most: int) -> None:
            for arguments in islice(given[name], most):
                future = self._client.submit(
                    task,
                    self._bases.get(name),
                    *arguments,
                    key=next(keys),
                    workers=[known[name]],
                    allow_other_workers=False,
                    retries=1,
                    pure=False,
                )
                running[future] = name

        try:
            for name in given:
                submit(name, ORDERS_AT_ONCE)
            while running:
                for name, answer in self._answered(running, seen):
                    if answer.error is None:
                        submit(name, 1)
                    else:
                        self._forget(running, name)
                    yield name, answer
        finally:
            for future in running:
                future.cancel()

    def _answered(self, running: dict[Any, str], seen: dict[str, float]) -> Iterator[tuple[str, HostAnswer]]:
        """Wait a moment, take what has ended out of `running`, and yield its answers; `seen` is when workers were."""
        self._wait(list(running))
        for future, name in list(running.items()):
            if future in running and future.done():  # what follows an error of its host is forgotten meanwhile
                del running[future]
                seen[name] = monotonic()
                yield name, self._outcome(future)
        now = monotonic()
        waiting = {name for name in running.values() if now - seen[name] >= _LOOK_SECONDS}
        if not waiting:
            return
        alive = self.names
        for name in waiting:
            if name in alive:
                seen[name] = now
            elif now - seen[name] >= _LOST_SECONDS:
                yield name, HostAnswer(None, "lost its worker")

    @staticmethod
    def _forget(running: dict[Any, str], name: str) -> None:
        for future in [each for each, host in running.items() if host == name]:
            future.cancel()
            del running[future]

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
            with self._client.as_current():
                self._distributed.wait(futures, timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED")
        except (TimeoutError, self._distributed.client.FuturesCancelledError):
            pass
        except Exception as error:
            if self._client.status == "running":
                raise
            raise self._lost() from error
        if self._client.status != "running":
            raise self._lost()

    def _outcome(self, future: Any) -> HostAnswer:
        if self._client.status != "running":
            raise self._lost()
        if future.cancelled():
            return HostAnswer(None, "was given up by the scheduler: start the command again")
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


def open_hosts(scheduler: str | None, names: Sequence[str], *, trusted: bool, stack: ExitStack) -> DaskHosts:
    """Return the hosts of a scheduler, or stand-ins of these names; `stack` closes them. Raises ConfigError."""
    bases = _NO_BASES
    if scheduler is None:
        scheduler, bases = start_stand_ins(names, stack)
    elif not trusted and not _is_safe(scheduler):
        raise ConfigError(f"--scheduler: found {scheduler}, wanted tls://…, or a loopback address: {_DANGER}")
    hosts = DaskHosts(scheduler, trusted=trusted, bases=bases)
    stack.callback(hosts.close)
    return hosts


def _is_safe(address: str) -> bool:
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    return parts.scheme in {"tls", "inproc"} or _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
