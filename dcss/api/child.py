"""The CP of a system that belongs to another program: the process that dcss.api.process starts.

Its standard input has one JSON document, `{"file": str, "text": str|null, "name": str|null, "default_name": str|null}`:
the YAML file, or its content and how messages call it, the name to give the system, and that for a YAML that has none.
Its arguments are the descriptor to which it reports its startup, and the process id of its owner.
"""

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from dcss.config.beside import PlanBeside
from dcss.config.document import Document, parse_document, presumed_engines, read_document
from dcss.engines.forked.server_process import servers_begun
from dcss.host.interrupts import signals_interrupt
from dcss.system.startup import FAULT_STATUS, StartupNotifier, serve_reporting


def main() -> NoReturn:
    """Be the CP until the system is taken down, or the owner has ended."""
    descriptor, owner_pid = map(int, sys.argv[1:])
    os.set_inheritable(descriptor, False)
    status = FAULT_STATUS
    try:
        with signals_interrupt():
            status = serve_reporting(lambda caller: _serve(caller, owner_pid), StartupNotifier(descriptor))
    except KeyboardInterrupt:
        status = 0
    sys.exit(status)


def _serve(caller: StartupNotifier, owner_pid: int) -> None:
    document, path, name = _asked()
    presumed_name, engines = presumed_engines(document, path)
    with servers_begun(name or presumed_name, engines), PlanBeside(document, path, name) as planning:
        from dcss.host.signals import run_interruptible
        from dcss.system.up import serve_for

        plan = planning.result()
        for warning in plan.warnings:
            caller.warn(warning)
        os.chdir("/")
        run_interruptible(serve_for(plan, caller, owner_pid))


def _asked() -> tuple[Document, Path, str | None]:
    request = json.load(sys.stdin)
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    path, text = Path(request["file"]), request["text"]
    if text is None:
        document = read_document(path)
    else:
        document = parse_document(text.encode("utf-8", "surrogateescape"), path.name)
    name = request["name"]
    if name is None and isinstance(document.data, dict) and "system" not in document.data:
        name = request["default_name"]
    return document, path, name
