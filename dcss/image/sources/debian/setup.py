"""Leave in a tree what the maintainer scripts of Debian's packages would leave that programs need.

docs/images.md lists it. Nothing is done over: what a package has stays.
"""

from collections.abc import Iterator
from typing import Final

from dcss.ext2.mkfs.tree import TreeFile
from dcss.image.sources.contents import content_of
from dcss.image.sources.debian.architectures import ARCHITECTURES
from dcss.image.sources.debian.busybox import applet_names
from dcss.image.sources.debian.ldconfig import configure_loader
from dcss.image.sources.debian.new_files import NewFiles
from dcss.image.sources.tree_paths import directory_at, resolve

# Merged /usr: the first three everywhere, the others as debootstrap makes them.
_MERGED: Final = ("bin", "sbin", "lib")
_MERGED_ALSO: Final = {"amd64": ("lib32", "lib64", "libx32"), "ppc64el": ("lib64",), "s390x": ("lib32",)}
_DIRECTORIES: Final = {
    **dict.fromkeys((b"/dev", b"/etc", b"/home", b"/proc", b"/run", b"/sys", b"/usr", b"/var", b"/mnt"), 0o755),
    **dict.fromkeys((b"/tmp", b"/var/tmp", b"/run/lock"), 0o1777),
    b"/root": 0o700,
}
_BINARIES: Final = (b"/bin", b"/sbin", b"/usr/bin", b"/usr/sbin", b"/usr/local/bin", b"/usr/local/sbin")
_SHELLS: Final = (b"dash", b"bash")
# What programs go by a common name, the one that Debian prefers first, by the priorities of its alternatives.
_ALTERNATIVES: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"/usr/bin/awk": (b"/usr/bin/gawk", b"/usr/bin/mawk", b"/usr/bin/original-awk"),
    b"/usr/bin/nawk": (b"/usr/bin/gawk", b"/usr/bin/mawk", b"/usr/bin/original-awk"),
    b"/usr/bin/pager": (b"/usr/bin/less", b"/usr/bin/most", b"/bin/more", b"/usr/bin/more"),
    b"/usr/bin/editor": (b"/bin/nano", b"/usr/bin/vim.basic", b"/usr/bin/vim.tiny", b"/bin/ed"),
    b"/usr/bin/vi": (b"/usr/bin/vim.basic", b"/usr/bin/vim.tiny", b"/usr/bin/nvi"),
    b"/usr/bin/vim": (b"/usr/bin/vim.basic",),
    b"/usr/bin/which": (b"/usr/bin/which.gnu", b"/usr/bin/which.debianutils"),
    b"/usr/bin/w": (b"/usr/bin/w.procps",),
    b"/bin/nc": (b"/bin/nc.openbsd", b"/bin/nc.traditional"),
    b"/bin/mt": (b"/bin/mt-gnu",),
    b"/usr/sbin/rmt": (b"/usr/sbin/rmt-tar",),
    b"/usr/bin/lzma": (b"/usr/bin/xz",),
    b"/usr/bin/unlzma": (b"/usr/bin/unxz",),
    b"/usr/bin/lzcat": (b"/usr/bin/xzcat",),
}
_COPIES: Final = (
    (b"/usr/share/base-passwd/passwd.master", b"/etc/passwd"),
    (b"/usr/share/base-passwd/group.master", b"/etc/group"),
    (b"/usr/share/libc-bin/nsswitch.conf", b"/etc/nsswitch.conf"),
    (b"/usr/share/base-files/nsswitch.conf", b"/etc/nsswitch.conf"),
    (b"/usr/share/base-files/profile", b"/etc/profile"),
    (b"/usr/share/base-files/dot.profile", b"/root/.profile"),
    (b"/usr/share/base-files/dot.bashrc", b"/root/.bashrc"),
    (b"/usr/share/debianutils/shells", b"/etc/shells"),
)
_PASSWD: Final = b"""root:x:0:0:root:/root:%b
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP: Final = b"root:x:0:\ndaemon:x:1:\ntty:x:5:\ndisk:x:6:\nstaff:x:50:\nusers:x:100:\nnogroup:x:65534:\n"
_NSSWITCH: Final = b"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"


def prepare_tree(new: NewFiles, arch: str) -> None:
    """Make what must be there before packages are unpacked: merged /usr, and links in /var."""
    for name in (*_MERGED, *_MERGED_ALSO.get(arch, ())):
        target = b"usr/" + name.encode()
        new.directory(b"/" + target)
        new.link(b"/" + name.encode(), target)
    for path in (b"/run", b"/run/lock"):
        new.directory(path, _DIRECTORIES[path])
    new.link(b"/var/run", b"/run")
    new.link(b"/var/lock", b"/run/lock")


def set_up_tree(new: NewFiles, arch: str, *, busybox_links: bool) -> Iterator[str]:
    """Make everything else, and yield notes on what could not be made. Raises ImageError where files cannot be read."""
    for path, mode in _DIRECTORIES.items():
        new.directory(path, mode)
    for source, path in _COPIES:
        new.copy(source, path)
    for path, programs in _ALTERNATIVES.items():
        _alternative(new, path, programs)
    shells = (*_SHELLS, b"busybox") if busybox_links else _SHELLS
    shell = next((name for name in shells if _is_file(new, b"/bin/" + name)), None)
    if shell is not None:
        new.link(b"/bin/sh", shell)
    if busybox_links:
        yield from _link_busybox(new)
    login_shell = b"/bin/bash" if _is_file(new, b"/bin/bash") else b"/bin/sh"
    new.file(b"/etc/passwd", _PASSWD % login_shell)
    new.file(b"/etc/group", _GROUP)
    new.file(b"/etc/nsswitch.conf", _NSSWITCH)
    new.link(b"/etc/mtab", b"../proc/self/mounts")
    architecture = ARCHITECTURES.get(arch)
    if architecture is None:
        yield f"/etc/ld.so.cache was not made: its form for {arch} is not known here, and programs start without it"
        return
    setup = configure_loader(new.overlay.root, architecture)
    new.file(b"/etc/ld.so.cache", setup.cache)
    yield from setup.notes


def _alternative(new: NewFiles, path: bytes, programs: tuple[bytes, ...]) -> None:
    """Make a link by way of /etc/alternatives, as update-alternatives does."""
    program = next((each for each in programs if _is_file(new, each)), None)
    if program is not None and not new.has(path):
        name = path.rpartition(b"/")[2]
        new.link(b"/etc/alternatives/" + name, program)
        new.link(path, b"/etc/alternatives/" + name)


def _link_busybox(new: NewFiles) -> Iterator[str]:
    found = resolve(new.overlay.root, b"/bin/busybox")
    if found is None or not isinstance(found.node, TreeFile):
        return
    applets = applet_names(content_of(found.node))
    if not applets:
        yield "/bin/busybox: no table of applets was found in it, and no links for them were made"
    taken: set[bytes] = set()
    for path in _BINARIES:
        directory = directory_at(new.overlay.root, path)
        taken.update(() if directory is None else directory.entries)
    for name in applets:
        if name not in taken:
            new.link(b"/bin/" + name, b"busybox")


def _is_file(new: NewFiles, path: bytes) -> bool:
    found = resolve(new.overlay.root, path)
    return found is not None and isinstance(found.node, TreeFile)
