"""Run a `dcss` command that is ended by SIGTERM when the thread that started it ends, so that nothing is left.

Arguments: the process id of the parent, and the command's own.
"""

import runpy
import sys
from signal import SIGTERM

from dcss.host.prctl import die_with

if __name__ == "__main__":
    die_with(int(sys.argv.pop(1)), SIGTERM)
    runpy.run_module("dcss", run_name="__main__", alter_sys=True)
