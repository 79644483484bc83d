"""Engine `process`: every guest is a process with a guest kernel in Python."""

from dcss.engines.forked.engine import ForkedEngine
from dcss.engines.forked.server_process import SERVER_MODULES


class ProcessEngine(ForkedEngine):
    """Guests as processes of this machine; see dcss.engines.base.Engine."""

    name = "process"
    server_module = SERVER_MODULES[name]
