"""Describe the machine, the peers and the source that a run was made with."""

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
PEER_COMMANDS = {
    "mke2fs": ("mke2fs", "-V"),
    "fuse2fs": ("fuse2fs", "-V"),
    "qemu-system-x86_64": ("qemu-system-x86_64", "--version"),
}
PEER_PACKAGES = ("numpy", "libfsext-python", "dissect.extfs")


def sbin(name: str) -> str | None:
    """Return the path of a program, also of one in /sbin, which a user's PATH may lack."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def describe_machine() -> dict[str, str]:
    """Return what the figures of a run depend on, ready to be printed."""
    described = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / (1 << 30):.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "user": "root" if os.geteuid() == 0 else "not root",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
    }
    return described | {f"version of {name}": version for name, version in _peers()}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Processor", "processor 0"}:
            return value.strip()
    return platform.machine()


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], check=False, capture_output=True, text=True)
        return done.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    return f"{commit or 'unknown'}{', with changes' if git('status', '--porcelain', '--', 'dcss', 'vmguest') else ''}"


def _peers() -> list[tuple[str, str]]:
    found = []
    for name, (command, option) in PEER_COMMANDS.items():
        path = sbin(command)
        if path:
            done = subprocess.run([path, option], check=False, capture_output=True, text=True)
            found.append((name, (done.stdout or done.stderr).splitlines()[0].strip()))
    for package in PEER_PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
