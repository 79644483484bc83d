"""Guests whose processes fork: each child tells its process id in a file, and tries to be found by nobody."""

from pathlib import Path

from dcss.engines.forked import server_process

# How a child behaves, as Python that runs in it. `os`, `signal`, `time` and `hop` are there.
BEHAVIOURS = {
    "plain": "",
    "setsid": "os.setsid()",
    "group": "os.setpgid(0, 0)",
    "twice": "os.fork() and os._exit(0)",
    "daemon": "os.setsid(); os.fork() and os._exit(0)",
    "renamed": "open('/proc/self/comm', 'w').write('systemd')",
    "deaf": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 13, 15)]; os.setsid(); os.fork() and os._exit(0)",
    "stopped": "os.setsid(); os.fork() and os._exit(0); tell(); os.kill(os.getpid(), signal.SIGSTOP)",
    "hopping": "os.setsid(); hop()",
    "elsewhere": "os.setsid(); os.fork() and os._exit(0); tell(); os.execve('/bin/sleep', ['sleep', '600'], dict())",
    "no subreaper": "os.setsid(); os.fork() and os._exit(0)",
}
_CODE = """
import sys; sys.path.insert(0, {{root!r}})
import os, signal, time
import dcss.engines.process.forkserver as server
def tell():
    os.close(os.open({pids!r} + '/' + str(os.getpid()), os.O_CREAT))
def hop():
    while True:
        tell()
        if os.fork():
            os._exit(0)
run_guest = server.run_guest
def run(spec, *arguments, **options):
    if {unset!r}:
        import ctypes; ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    if os.fork() == 0:
        try:
            for descriptor in (3, 4):
                os.close(descriptor)
            {behaviour}
            tell()
            while True:
                time.sleep(600)
        finally:
            os._exit(0)
    while not os.listdir({pids!r}):
        time.sleep(0.001)
    return run_guest(spec, *arguments, **options)
server.run_guest = run
"""


def forking_program(behaviour: str, pids: Path) -> str:
    """Return the fork server's program whose guests fork a child, which writes its process id as a file's name."""
    code = _CODE.format(pids=str(pids), behaviour=BEHAVIOURS[behaviour], unset=behaviour == "no subreaper")
    return code + server_process._PROGRAM
