"""Which QEMU is installed, and whether it is new enough for these machines."""

import re
import shutil
import subprocess
from typing import Final

OLDEST: Final = (7, 2)
_LIMIT_SECONDS: Final = 20.0  # it takes 0.05 s
_VERSION: Final = re.compile(r"QEMU emulator version (\d+)\.(\d+)\S*")


def unusable_because(program: str) -> str | None:
    """Return why the QEMU `program` of PATH cannot run machines; None where it can."""
    path = shutil.which(program)
    if path is None:
        return f"no {program}"
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} --version failed: {error}"
    found = _VERSION.match(done.stdout)
    if found is None:
        told = (done.stdout + done.stderr).strip().partition("\n")[0]
        return f"{path} --version says {told!r:.80}"
    if (int(found[1]), int(found[2])) < OLDEST:
        return f"{path} is {found[0].removeprefix('QEMU emulator version ')}"
    return None
