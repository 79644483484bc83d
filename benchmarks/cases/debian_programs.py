"""Debian's bash, busybox, python3 and perl in a guest of engine s390x, beside qemu-s390x's emulation of one process.

Full mode only: packages are downloaded where they are not cached.
"""

import subprocess
from pathlib import Path

from benchmarks.cases.programs import QEMU, Execute, children_cpu, guest_execute, qemu_s390x
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare
from benchmarks.framework.session import Session

GUEST = "D"
PACKAGES = ("bash", "busybox", "perl-base", "python3-minimal")
MILLISECONDS = 1e3
CONFIG = """\
system: {system}
segments:
  - {{name: DEBIAN, at: 0x40000000, type: SR, image: {{debian: {{arch: s390x, packages: [{packages}]}}}}}}
guests:
  - name: {guest}
    engine: s390x
    storage: 256M
    mounts: [{{device: dcssblk0, at: /, options: [ro, xip]}}]
"""
FORKS, ECHOES, STARTS, ROUNDS = 200, 100, 3, 10_000
SHELL = ("/bin/bash", "-c")


def run(session: Session) -> list[Row]:
    """Run the same programs in a guest and under qemu-s390x."""
    specs = [
        RowSpec("loop of bash", "ms", "cpu", f"{ROUNDS:,} rounds of an empty loop"),
        RowSpec("fork of bash", "ms", "cpu", f"a subshell that does nothing, one of {FORKS}", wanted_most=0.5),
        RowSpec(
            "busybox echo",
            "ms",
            "cpu",
            f"one of {ECHOES}, from exec to exit; ours with the fork of bash before it, qemu's with its own start",
            wanted_ratio=(QEMU, 5),
        ),
        RowSpec("python3", "ms", "cpu", f"`python3 -S -c pass`, from exec to exit, one of {STARTS}"),
        RowSpec("perl", "ms", "cpu", f"`perl -e 1`, from exec to exit, one of {STARTS}"),
    ]
    with session.directory("debian") as directory:
        system = f"debian-{session.name}"
        config = directory / "debian.yaml"
        config.write_text(CONFIG.format(system=system, packages=", ".join(PACKAGES), guest=GUEST))

        def ours() -> Sample:
            if session.quick:
                raise Unavailable("quick mode downloads nothing")
            with session.served("system", str(config)) as served:
                (pid,) = served.ready["pids"]
                execute = guest_execute(session, system, GUEST, pid)
                sample = _shells(execute)
                for name, command in (("python3", "python3 -S -c pass"), ("perl", "perl -e 1")):
                    script = f"for ((i = 0; i < {STARTS}; i++)); do {command}; done"
                    sample[name] = execute(*SHELL, script) / STARTS * MILLISECONDS
                script = f"for ((i = 0; i < {ECHOES}; i++)); do /bin/busybox echo; done"
                return {**sample, "busybox echo": execute(*SHELL, script) / ECHOES * MILLISECONDS}

        def qemu() -> Sample:
            if session.quick:
                raise Unavailable("quick mode downloads nothing")
            emulator, tree = qemu_s390x(), _tree(directory / "tree")

            def execute(name: str, *words: str) -> float:
                program = (tree / name.lstrip("/")).resolve()
                return children_cpu(lambda: session.run(emulator, "-L", tree, program, *words, discard=True))

            sample = _shells(execute)
            for key, *words in (
                ("python3", "/usr/bin/python3", "-S", "-c", "pass"),
                ("perl", "/usr/bin/perl", "-e", "1"),
                ("busybox echo", "/bin/busybox", "echo"),
            ):
                sample[key] = sum(execute(*words) for _ in range(STARTS)) / STARTS * MILLISECONDS
            return sample

        # Each round starts anew whatever the one before it left: none has to be discarded.
        return compare("debian-programs", specs, {"dcss": ours, QEMU: qemu}, rounds=3, warm_up=False)


def _shells(execute: Execute) -> dict[str | tuple[str, str], float]:
    start = execute(*SHELL, ":")
    loop = execute(*SHELL, f"for ((i = 0; i < {ROUNDS}; i++)); do :; done") - start
    forks = execute(*SHELL, f"for ((i = 0; i < {FORKS}; i++)); do ( : ); done") - start
    return {"loop of bash": loop * MILLISECONDS, "fork of bash": forks / FORKS * MILLISECONDS}


def _tree(path: Path) -> Path:
    """Unpack the packages into a directory, once. Raises Unavailable."""
    if not path.exists():
        from dcss.config.sources import DebianSource
        from dcss.errors import ImageError
        from dcss.image.sources.debian.packages import fetch_packages

        try:
            packages = fetch_packages(DebianSource(PACKAGES))
        except ImageError as error:
            raise Unavailable(str(error)) from error
        path.mkdir()
        for package in packages.files:
            subprocess.run(["dpkg-deb", "-x", package, path], check=True)
    return path
