"""What the fork server has imported is all that programs need: a guest's process cannot open a module any more."""

import json
import subprocess
import sys
from pathlib import Path

from elf390_support import PROGRAMS

from dcss.engines.forked.server_process import SERVER_MODULES, _imports_of

ROOT = Path(__file__).parents[5]
PROGRAM = """
import sys; {imports}
import json, os, socket, sys, threading
sys.path.insert(0, {root!r})
from dcss.engines.s390x import forkserver
forkserver.preload()
from dcss.abi.programs import ProgramRequest, TerminalSize
from vmguest import hostmem
from vmguest.fs.open import O_CREAT, O_WRONLY, open_file
from vmguest.kernel import Kernel
from vmguest.s390x.host_console import HostConsole
from vmguest.s390x.programs import Programs
from dcss.abi import programs as abi
late = []
sys.addaudithook(lambda event, arguments: late.append(arguments[0]) if event == "import" else None)
kernel = Kernel(hostmem.reserve(), 64 << 20, socket.socketpair()[0])
programs = Programs(kernel)
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
number = 0
for path in sys.argv[1:]:
    name = b"/tmp/" + os.path.basename(path).encode()
    with open(path, "rb") as source, open_file(kernel.vfs, name, O_WRONLY | O_CREAT, mode=0o755) as file:
        file.write(source.read())
    for terminal, strace in ((None, True), (TerminalSize(24, 80), False)):
        number += 1
        request = ProgramRequest((name, b"1", b"2"), terminal=terminal, strace=strace)
        ours.send(abi.head_of(abi.RUN, number) + request.pack())
started = number

def take():
    # The console is closed when all programs have ended.
    ended = 0
    while ended < started:
        ended += ours.recv(1 << 16)[:1] == abi.EXIT
    ours.close()

for number in range(1, started + 1):
    ours.send(abi.head_of(abi.SIGNAL, number) + abi.STATUS.pack(15))
taking = threading.Thread(target=take)
taking.start()
HostConsole(kernel, programs, theirs, lambda: None).serve()
taking.join()
kernel.counters()
os.write(1, json.dumps([late, started]).encode())
os._exit(0)
"""


def test_no_program_has_the_guest_import_anything(tmp_path: Path) -> None:
    for name, content in PROGRAMS.items():
        (tmp_path / name).write_bytes(content)
    demo = sorted((ROOT / "configs/s390x-programs/root/bin").iterdir())
    paths = [*sorted(tmp_path.iterdir()), *demo]
    program = PROGRAM.format(imports=_imports_of(SERVER_MODULES["s390x"]), root=str(ROOT))
    command = [sys.executable, "-I", "-S", "-c", program, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    late, started = json.loads(done.stdout)
    assert started == 2 * len(paths)
    assert late == []
