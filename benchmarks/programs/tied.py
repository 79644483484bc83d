"""Run a program that the kernel kills when the process that started it ends, however that ends.

python -I -S benchmarks/programs/tied.py PARENT COMMAND [ARGUMENT ...]
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); execve(2) keeps it


def main() -> None:
    """Tie this process to its parent, and become the program."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() == parent:  # else it has ended already
        os.execvp(command[0], command)


if __name__ == "__main__":
    main()
