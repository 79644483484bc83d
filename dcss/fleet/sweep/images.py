"""The images of a sweep's configurations: each is built once, here, and sent once to each host that needs it."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from os import environ
from pathlib import Path
from threading import Lock
from typing import Any, Final

from dcss.errors import LaunchError
from dcss.fleet.content import Content, describe_content
from dcss.fleet.host_yaml import IMAGES, dump_yaml
from dcss.fleet.hosts import Hosts
from dcss.fleet.sweep.children import start_child, wait_for_child
from dcss.fleet.transfer import send_images
from dcss.progress import SilentProgress

_NOT_BYTES: Final = frozenset({"type", "save", "huge_pages"})
Group = Sequence[Mapping[str, Any]]


class SweepImages:
    """Images by what they are made of. They lie in `scratch` until no configuration that is left has them.

    Their sources are read once: all configurations have the same bytes, whatever becomes of the sources meanwhile.
    """

    def __init__(self, scratch: Path, run: str, systems: Collection[Mapping[str, Any]], hosts: Hosts) -> None:
        self._scratch, self._run, self._hosts = scratch, run, hosts
        self._left = Counter(_key(group) for system in systems for group in _groups(system))
        self._built: dict[str, Content | None] = {}
        self._building: defaultdict[str, Lock] = defaultdict(Lock)
        self._sending: defaultdict[str, Lock] = defaultdict(Lock)

    def give(self, system: Mapping[str, Any], worker: str, node: str) -> tuple[Mapping[str, Any], list[str]]:
        """Have a worker's host get a system's images; return the system's data with them, and their digests.

        What cannot be built stays as it is: the command that runs the configuration says why. Raises LaunchError where
        the host does not get them.
        """
        contents: dict[str, Content] = {}
        paths: dict[str, Path] = {}
        for group in _groups(system):
            content = self._content(group)
            if content is not None:
                contents[group[0]["name"]] = content
                paths[content.digest] = self._path(_key(group))
        with self._sending[node]:  # workers of one host have one cache
            _, failed = send_images(self._hosts, {worker: list(contents)}, contents, paths, SilentProgress())
        if failed:
            raise LaunchError(f"worker {worker} did not get its images: {failed[worker]}")
        segments = [
            {**each, "image": {"ext2": IMAGES + contents[each["name"]].digest}} if each["name"] in contents else each
            for each in system["segments"]
        ]
        return {**system, "segments": segments}, sorted(paths)

    def release(self, system: Mapping[str, Any]) -> None:
        """Note that a configuration is done; an image that was its alone is removed."""
        for key in map(_key, _groups(system)):
            self._left[key] -= 1
            if not self._left[key]:
                self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._scratch / f"{list(self._left).index(key)}.img"

    def _content(self, group: Group) -> Content | None:
        key = _key(group)
        with self._building[key]:
            if key not in self._built:
                self._built[key] = self._build(group, self._path(key))
            return self._built[key]

    def _build(self, group: Group, path: Path) -> Content | None:
        """Build an image by a command of its own, which Ctrl-C ends; return None where it fails."""
        directory = path.with_suffix("")
        directory.mkdir()
        config = directory / "images.yaml"
        config.write_bytes(dump_yaml({"segments": group}))
        process = start_child(self._run, ["image", "build", str(config), "-o", str(path)], environ, directory)
        wait_for_child(process, None)
        return None if process.returncode else describe_content(path)


def _groups(system: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """Return the segments that have an image, each followed by those in which it goes on."""
    entries = [each for each in system["segments"] if "image" in each]
    further = {each["image"]["continues"]: each for each in entries if "continues" in each["image"]}
    groups = [[each] for each in entries if "continues" not in each["image"]]
    for group in groups:
        while group[-1]["name"] in further:
            group.append(further[group[-1]["name"]])
    return groups


def _key(group: Group) -> str:
    """Return what an image is made of, as text. What a segment is besides makes no difference to the image's bytes."""
    return json.dumps(
        [{key: value for key, value in each.items() if key not in _NOT_BYTES} for each in group], sort_keys=True
    )
