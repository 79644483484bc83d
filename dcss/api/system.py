"""Start a system and use it from Python, or use one that runs."""

import itertools
import json
import logging
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from dcss.api.calls import ask
from dcss.api.guest import Guest
from dcss.api.process import OwnedCP
from dcss.documents import from_document
from dcss.errors import ConfigError, DcssError, GuestFailedError
from dcss.host.written_path import check_written_path
from dcss.progress import SilentProgress
from dcss.results import GuestStatus, MeasureResult, SystemStatus, VerifyResult

Config = str | os.PathLike[str] | Mapping[str, Any]

_FAILED_STATES = frozenset({"failed", "killed"})
_numbers = itertools.count(1)
_logger = logging.getLogger("dcss")


class System:
    """A system of guests, up within a `with` block or between `start` and `close`.

    `config` is a YAML file's path, YAML text (a str with several lines), or the same as a dict. Relative paths in it
    begin at the file or, for text and dicts, at `directory`, the current one if it is not given. The system is called
    `name`, or what its `system:` says; text and dicts without one get a name that no other has.

    Its CP is a process of its own that ends with this program, however that ends. All methods may be called in any
    thread, and where an event loop runs; dcss.aio has the same for asyncio.
    """

    def __init__(
        self,
        config: Config,
        *,
        name: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        allow_failed_guests: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._request = _request(config, name, directory)
        self._allow_failed_guests = allow_failed_guests
        self._environment = environment
        self._name: str | None = None
        self._owned: OwnedCP | None = None
        self._end: Callable[[], object] = lambda: None
        self.warnings: tuple[str, ...] = ()

    @classmethod
    def attach(cls, name: str | None = None) -> Self:
        """Return a system that runs already, the only one where no name is given; the end of a block leaves it up.

        Raises ConfigError where there is none such, LaunchError where it does not answer.
        """
        from dcss.rpc.running import only_running

        system = cls({})
        name = only_running() if name is None else name
        ask(name, "ping")
        system._name = name
        return system

    def start(self) -> Self:
        """Publish the segments, start the guests, and return when each has finished its `run:` list.

        Raises ConfigError, ImageError, PublishError, SpoolError, SystemBusyError, LaunchError, and GuestFailedError
        where guests failed, unless these are allowed; nothing is left then.
        """
        if self._name is not None:
            raise ConfigError(f"system {self._name}: found it started already, wanted one that is not")
        progress = _Warnings()
        try:
            owned = OwnedCP(self._request, progress, self._environment)
        finally:
            self.warnings = tuple(progress.lines)
        # What nobody closes ends when it is collected, or with the interpreter.
        self._end = weakref.finalize(self, owned.end)
        self._owned, self._name = owned, owned.status.system
        failed = [guest for guest in owned.status.guests if guest.state in _FAILED_STATES]
        if failed and not self._allow_failed_guests:
            self.close()
            raise GuestFailedError(*map(_failure, failed))
        return self

    def close(self) -> None:
        """Take the system down, if this object has started it, and return when nothing of it is left.

        May be called twice. Raises LaunchError where its CP was killed.
        """
        owned, self._owned = self._owned, None
        if owned is None:
            return
        self._name = None
        try:
            owned.take_down()
        finally:
            self._end()

    def down(self) -> None:
        """Take the system down, whoever has started it."""
        if self._owned is not None:
            self.close()
            return
        from dcss.rpc.client import Client

        with Client(self.name) as client:
            client.take_down()

    @property
    def started(self) -> bool:
        """It has been started or attached to, and not closed."""
        return self._name is not None

    @property
    def name(self) -> str:
        """Return the system's name. Raises ConfigError where it is not up."""
        if self._name is None:
            raise ConfigError("dcss.System: found it not started, wanted it up: use it in a with block, or start() it")
        return self._name

    @property
    def guests(self) -> Mapping[str, Guest]:
        """The guests by name, in the order of the YAML."""
        return MappingProxyType({guest.name: Guest(self.name, guest.name) for guest in self.status().guests})

    def status(self) -> SystemStatus:
        """Return what the system, its guests and its segments do now: the document of `dcss ps`."""
        return from_document(SystemStatus, ask(self.name, "ps"))

    def verify(self, evidence: str | os.PathLike[str] | None = None) -> VerifyResult:
        """Prove what the guests share, and return the verdict, whatever it is.

        `evidence` is a file for what the verdict is computed from; dcss.Evidence reads it. Raises ConfigError where it
        cannot be written.
        """
        if evidence is not None:
            check_written_path("evidence", Path(evidence))
        path = None if evidence is None else os.path.abspath(evidence)  # noqa: PTH100 - CP works elsewhere
        return from_document(VerifyResult, ask(self.name, "verify", evidence=path))

    def measure(self) -> MeasureResult:
        """Return what each guest costs, and what sharing saves."""
        return from_document(MeasureResult, ask(self.name, "measure"))

    def cp(self, command: str) -> tuple[str, ...]:
        """Give a command to CP's console and return its lines. Raises DcssError with them where CP refuses."""
        answer = ask(self.name, "cp", command=command)
        lines = tuple(answer["lines"])
        if answer["return_code"]:
            raise DcssError("\n".join(lines))
        return lines

    def log(self) -> str:
        """Return CP's log."""
        return Path(self.status().log).read_bytes().decode(errors="surrogateescape")

    def __enter__(self) -> Self:
        return self if self.started else self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except DcssError:
            if kind is None:  # else what went wrong in the block says more
                raise

    def __repr__(self) -> str:
        return f"<dcss.System {self._name or 'not started'}>"


def _failure(guest: GuestStatus) -> str:
    """Return one line: the last of the guest's log says why."""
    why = (guest.reason or "").strip().rpartition("\n")[2]
    return f"guest {guest.name}: {guest.state}: {why}"


class _Warnings(SilentProgress):
    """Keeps what the configuration warns of, and logs it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def warn(self, text: str) -> None:
        """Keep one line."""
        self.lines.append(text)
        _logger.warning("%s", text)


def is_text(config: str | os.PathLike[str]) -> bool:
    """Return True for YAML text, False for a path."""
    return isinstance(config, str) and ("\n" in config or config.lstrip().startswith("{"))


def _request(config: Config, name: str | None, directory: str | os.PathLike[str] | None) -> Mapping[str, str | None]:
    """Return the request of dcss.api.child that stands for a configuration."""
    base = Path.cwd() if directory is None else Path(os.path.abspath(directory))  # noqa: PTH100 - links stay links
    unique = f"python-{os.getpid()}-{next(_numbers)}"
    if isinstance(config, Mapping):
        try:
            text = json.dumps(dict(config), default=os.fspath, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"configuration: found what YAML cannot hold, wanted dicts, lists, texts: {error}"
            ) from error
        return {"file": str(base / "configuration"), "text": text, "name": name, "default_name": unique}
    if is_text(config):
        return {"file": str(base / "configuration"), "text": str(config), "name": name, "default_name": unique}
    return {"file": str(base / Path(config)), "text": None, "name": name, "default_name": unique}
