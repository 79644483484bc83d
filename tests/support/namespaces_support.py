"""Hosts on one machine that share neither network nor memory: namespaces with a /dev/shm mount of their own."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SHM = "mount -t tmpfs -o mode=1777 none /dev/shm && echo there && exec sleep infinity"


@dataclass(frozen=True)
class Namespace:
    """A host: its address, what a command on it begins with, and its /dev/shm seen from here."""

    address: str
    prefix: Sequence[str]
    shared_memory: Path


@dataclass(frozen=True)
class Namespaces:
    """Hosts by name, and this machine's address in their network."""

    address: str
    hosts: Mapping[str, Namespace]


@contextmanager
def made_namespaces(names: Sequence[str]) -> Iterator[Namespaces]:
    """Make a bridge and namespaces on it, which last as long as this does, whatever ends in them; skip without root."""
    mark, network = f"d{os.getpid() % 100_000}", f"10.117.{os.getpid() % 250}"
    with ExitStack() as made:
        try:
            _ip("link", "add", mark, "type", "bridge")
            made.callback(_ip, "link", "del", mark)
            _ip("addr", "add", f"{network}.254/24", "dev", mark)
            _ip("link", "set", mark, "up")
            hosts = {
                name: _made_host(made, mark, number, f"{network}.{number}") for number, name in enumerate(names, 1)
            }
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"needs root, iproute2, and to be allowed network namespaces: {error}")
        yield Namespaces(f"{network}.254", hosts)


def _made_host(made: ExitStack, mark: str, number: int, address: str) -> Namespace:
    space, outer = f"{mark}-{number}", f"{mark}o{number}"
    _ip("netns", "add", space)
    made.callback(_ip, "netns", "del", space)
    _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
    _ip("link", "set", outer, "master", mark, "up")
    _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
    _ip("-n", space, "link", "set", "eth0", "up")
    _ip("-n", space, "link", "set", "lo", "up")
    # `ip netns exec` makes a namespace of mounts each time: this process keeps the host's.
    words = ["ip", "netns", "exec", space, "sh", "-c", SHM]
    keeper = made.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
    made.callback(keeper.kill)
    assert keeper.stdout is not None
    if keeper.stdout.readline() != "there\n":
        raise OSError(f"{space}: /dev/shm cannot be mounted")
    prefix = ("nsenter", "-t", str(keeper.pid), "-m", "-n", "--")
    return Namespace(address, prefix, Path(f"/proc/{keeper.pid}/root/dev/shm"))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=60)
