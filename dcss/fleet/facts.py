"""What hosts tell of themselves before a fleet gives them anything."""

from collections.abc import Sequence

from dcss.errors import LaunchError
from dcss.fleet import tasks
from dcss.fleet.hosts import Hosts
from dcss.version import VERSION


def ask_facts(hosts: Hosts, names: Sequence[str]) -> dict[str, tasks.Answer]:
    """Return what each of these hosts tells. Raises LaunchError where versions differ, or one cannot be asked."""
    if not names:
        raise LaunchError("--scheduler: it has no workers; start some: dask worker ADDRESS --name HOST")
    answers = hosts.call(tasks.tell_facts, dict.fromkeys(names, ()))
    unasked = [f"host {name} {answer.error}" for name, answer in answers.items() if answer.error is not None]
    facts = {name: answer.value for name, answer in answers.items() if answer.error is None}
    other = [
        f"host {name} has dcss {fact['version']}, this machine {VERSION}: install the same version on both"
        for name, fact in facts.items()
        if fact["version"] != VERSION
    ]
    if other or unasked:
        raise LaunchError("; ".join(other + unasked))
    return facts
