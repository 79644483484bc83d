"""Engine `s390x`: every guest is a process with a guest kernel in Python and an s390x CPU, which runs its programs."""

from collections.abc import Sequence

from dcss.config.plan import GuestPlan
from dcss.config.problems import ConfigProblem
from dcss.engines.forked.engine import ForkedEngine
from dcss.engines.forked.server_process import SERVER_MODULES
from dcss.engines.s390x import unicorn
from dcss.engines.s390x.instance import ProgramInstance


class S390xEngine(ForkedEngine):
    """Guests that run s390x programs; see dcss.engines.base.Engine."""

    name = "s390x"
    server_module = SERVER_MODULES[name]
    instance_type = ProgramInstance

    def check(self, guests: Sequence[GuestPlan]) -> Sequence[ConfigProblem]:
        """Return a problem for each guest whose specification is too large, and for all where there is no Unicorn."""
        version = unicorn.installed_version()
        if version is not None and unicorn.is_recent(version):
            return super().check(guests)
        found = f"s390x, which needs Unicorn, and {'none' if version is None else version} installed"
        wanted = f"Unicorn {unicorn.MINIMUM} or newer"
        fields = dict.fromkeys(guest.where for guest in guests)
        return [ConfigProblem(f"{where}: engine", found, wanted, unicorn.INSTALL) for where in fields]
