"""Find the system that a command acts on, and make requests to it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dcss.errors import DcssError, LaunchError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dcss.rpc.look import LiveSystem

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
Item = TypeVar("Item")
Result = TypeVar("Result")


def _complete_system(_: click.Context, __: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in running_systems() if name.startswith(incomplete)]


def _complete_source(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name of a system, or the path of a result."""
    from glob import escape, iglob

    from click.shell_completion import CompletionItem

    files = [CompletionItem(path) for path in sorted(iglob(f"{escape(incomplete)}*.json"))]  # noqa: PTH207 - as typed
    return _complete_system(context, parameter, incomplete) + files


def complete_guest(context: click.Context, _: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name of a guest: of the system given by --system, or of all running ones."""
    from click.shell_completion import CompletionItem

    from dcss.rpc.client import Client

    named = context.params.get("system")
    names = []
    for system in [named] if named else running_systems():
        with suppress(DcssError), Client(system) as client:
            names += [guest["name"] for guest in client.ask("ps", timeout_seconds=1.0)["guests"]]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


_NAMED = "dcss.system"  # where a context keeps what --system names


def _keep_named(context: click.Context, _: click.Parameter, system: str | None) -> str | None:
    context.meta[_NAMED] = system
    return system


def _one_name(context: click.Context, _: click.Parameter, system: str | None) -> str | None:
    """Return the system that is named as an argument or by --system. Raises UsageError where these differ."""
    named: str | None = context.meta.get(_NAMED)
    if None not in {system, named} and system != named:
        raise click.UsageError(f"found SYSTEM {system} and --system {named}, wanted one system", context)
    return system if system is not None else named


def system_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take its system as an argument, and by --system as all others take it."""
    return _system_argument(function, "[SYSTEM]", _complete_system)


def source_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take a system as `system_argument` does, or a result in its place."""
    return _system_argument(function, "[SYSTEM|RESULT.json]", _complete_source)


def _system_argument(function: Callable[..., Any], metavar: str, complete: Completer) -> Callable[..., Any]:
    argument = click.argument("system", required=False, metavar=metavar, callback=_one_name, shell_complete=complete)
    option = click.option(
        "--system",
        "named_system",
        metavar="SYSTEM",
        help="The same as the argument SYSTEM.",
        is_eager=True,  # read before the argument
        expose_value=False,
        callback=_keep_named,
        shell_complete=_complete_system,
    )
    return argument(option(function))


system_option = click.option(
    "--system", metavar="SYSTEM", help="The system; not needed if only one runs.", shell_complete=_complete_system
)
guest_argument = click.argument("guest", shell_complete=complete_guest)


def running_systems() -> list[str]:
    """Return the names of this user's running systems."""
    from dcss.rpc.running import running_systems

    return running_systems()


def chosen(system: str | None) -> str:
    """Return `system`, or the only one that runs where it is None. Raises ConfigError where that is not exactly one."""
    if system is not None:
        return system
    from dcss.rpc.running import only_running

    return only_running()


def live_system(system: str) -> "LiveSystem":
    """Attach to the statistics area of a running system. Raises ConfigError and LaunchError."""
    from dcss.rpc.client import Client, Life, find_systems
    from dcss.rpc.look import LiveSystem

    found = next((found for found in find_systems() if found.name == system), None)
    if found is None or found.life is not Life.UP or found.pid is None:
        Client(system).close()  # raises what is wrong
        raise LaunchError(f"system {system}: its CP has just started; try again")
    try:
        return LiveSystem(system, found.pid)
    except ProcessLookupError as error:
        raise LaunchError(f"system {system}: its CP (process {found.pid}) has just ended") from error


def ask(system: str | None, request: str, **arguments: Any) -> dict[str, Any]:
    """Make one request to a system (the only running one for None) and return the result.

    Raises ConfigError and LaunchError.
    """
    from dcss.rpc.client import Client

    with Client(chosen(system)) as client:
        return client.ask(request, **arguments)  # no limit of time: this ends when CP does


def for_each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Call `function` with each item, all at the same time, and return the results in the items' order.

    The first exception is raised when all calls have ended. An interrupt does not wait for them.
    """
    calls = [_Call(function, item) for item in items]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    return [call.result() for call in calls]


class _Call(Thread):
    """One call of `for_each`."""

    def __init__(self, function: Callable[[Any], Any], item: object) -> None:
        super().__init__(daemon=True)  # an interrupted command ends while it waits still
        self._function, self._item = function, item
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._function(self._item)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        """Return or raise what the call did."""
        if self._error is not None:
            raise self._error
        return self._result
