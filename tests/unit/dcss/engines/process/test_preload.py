"""What the fork server has imported is all that guests need: an import after the fork costs a guest a megabyte."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, os, socket, sys
sys.path.insert(0, {root!r})
from dcss.engines.process import forkserver
forkserver.preload()
from vmguest import hostmem
from vmguest.kernel import Kernel
from vmguest.shell.shell import Shell
from vmguest.shell.table import COMMANDS
late = []
sys.addaudithook(lambda event, arguments: late.append(arguments[0]) if event == "import" else None)
kernel = Kernel(hostmem.reserve(), 1 << 20, socket.socketpair()[0])
shell, heard = Shell(kernel), bytearray()
lines = [*(name.decode() for name in COMMANDS), "cat /proc/*", "echo x > /tmp/x; sha256sum /tmp/x; md5sum /tmp/x",
         "cp /tmp/x /tmp/y; ls -laR /; stat /tmp/x; hexdump -C /tmp/x; wc /tmp/*; head /tmp/x; find / -name 'x*'",
         "nosuch", "ls '", "ls -Z", "sh -c 'mount; df; free -h'", "rm -r /tmp/x; mkdir -p /tmp/a/b; ln -s x /tmp/l"]
for line in lines:
    shell.run(line, heard.extend, heard.extend)
os.write(1, json.dumps([late, heard.count(b"internal error"), len(heard)]).encode())
os._exit(0)
"""


def test_no_command_imports_anything() -> None:
    program = PROGRAM.format(root=str(Path(__file__).parents[5]))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True)
    late, crashes, heard_bytes = json.loads(done.stdout)
    assert late == []
    assert crashes == 0
    assert heard_bytes > 1000
