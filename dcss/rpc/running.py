"""The systems of this user that run, and the one that is meant where none is named."""

from dcss.errors import ConfigError
from dcss.rpc.client import Life, find_systems


def running_systems() -> list[str]:
    """Return the names of this user's running systems."""
    return [found.name for found in find_systems() if found.life is Life.UP]


def only_running() -> str:
    """Return the name of the only system that runs. Raises ConfigError where that is not exactly one."""
    running = running_systems()
    if not running:
        raise ConfigError(f"SYSTEM: found none that runs, wanted one; start it: dcss up CONFIG{_dead()}")
    if len(running) > 1:
        raise ConfigError(f"SYSTEM: found {len(running)} that run, wanted the name of one of {', '.join(running)}")
    return running[0]


def _dead() -> str:
    """Return, to end a message with, which systems have a CP that was killed."""
    dead = [found.name for found in find_systems() if found.life is Life.DEAD]
    return f" (the CP of {', '.join(dead)} is dead; dcss down removes what it left)" if dead else ""
