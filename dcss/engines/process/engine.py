"""Engine `process`: every guest is a process with a guest kernel in Python."""

from dcss.engines.forked.engine import ForkedEngine


class ProcessEngine(ForkedEngine):
    """Guests as processes of this machine; see dcss.engines.base.Engine."""

    name = "process"
    server_module = "dcss.engines.process.forkserver"
