"""File systems of their own for each guest: one loop device and one mount each, in a mount namespace."""

import os
from pathlib import Path

from benchmarks.framework.machine import sbin
from benchmarks.framework.rounds import Unavailable

# A loop device that is detached while it is mounted goes with its mount, and mounts go with the namespace's last
# process: nothing is left, however that ends.
SCRIPT = """
set -e
image=$1 top=$2 count=$3
shift 3
number=0
while [ "$number" -lt "$count" ]; do
    mkdir -p "$top/$number"
    device=$(losetup --find --show --read-only "$image")
    mount -t ext2 -o ro "$device" "$top/$number" || { losetup --detach "$device"; exit 1; }
    losetup --detach "$device"
    number=$((number + 1))
done
exec "$@"
"""


def mounts_command(image: Path, top: Path, count: int) -> list[str]:
    """Return the words before a command that mount an image `count` times below `top`.

    Raises Unavailable where that is not possible.
    """
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists() or sbin("losetup") is None:
        raise Unavailable("needs root, loop devices and losetup")
    return ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", str(image), str(top), str(count)]
