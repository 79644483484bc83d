"""Operations on a tree of names and mounts, done by this machine's kernel and by a guest's, told in the same words.

An operation is a tuple: what to do, and its words. What it leaves is text: "ok", a result, or the name of an errno.
"""

import ctypes
import errno
import json
import os
import stat
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Protocol

from dcss.errors import KernelError
from vmguest.fs import namei
from vmguest.fs.do_mount import do_loopback, do_new_mount, do_remount
from vmguest.fs.mount import Dentry
from vmguest.fs.open import O_CREAT, O_WRONLY, FileDescription, open_file
from vmguest.fs.options import parse_options
from vmguest.kernel import Kernel

NAMES = ("a", "b", "c")
Operation = tuple[str, ...]

_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18


class Tree(Protocol):
    """A kernel's side; every method may raise OSError."""

    def mkdir(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def create(self, path: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def symlink(self, target: str, path: str) -> None: ...
    def tmpfs(self, path: str) -> None: ...
    def bind(self, source: str, path: str) -> None: ...
    def umount(self, path: str) -> None: ...
    def remount(self, path: str, options: str) -> None: ...
    def chdir(self, path: str) -> None: ...
    def hold(self, path: str) -> None: ...
    def drop(self) -> None: ...
    def list(self, path: str) -> str: ...
    def kind(self, path: str) -> str: ...
    def where(self) -> str: ...


def run(tree: Tree, operations: list[Operation]) -> list[str]:
    """Do operations in turn and return what each left."""
    left = []
    for name, *words in operations:
        try:
            result = getattr(tree, name)(*words)
        except OSError as error:
            result = errno.errorcode[error.errno or 0]
        left.append("ok" if result is None else result)
    return left


class GuestTree:
    """The guest kernel's side."""

    def __init__(self, kernel: Kernel) -> None:
        self._vfs = kernel.vfs
        self._vfs.populate()
        self._cwd = self._vfs.root().hold()
        self._held: list[FileDescription] = []

    def _node(self, path: str, *, follow: bool = True) -> Dentry:
        return self._vfs.resolve(path.encode(), follow=follow, start=self._cwd)

    def mkdir(self, path: str) -> None:
        namei.mkdir(self._vfs, path.encode(), self._cwd)

    def rmdir(self, path: str) -> None:
        namei.rmdir(self._vfs, path.encode(), self._cwd)

    def create(self, path: str) -> None:
        open_file(self._vfs, path.encode(), O_WRONLY | O_CREAT, self._cwd).close()

    def unlink(self, path: str) -> None:
        namei.unlink(self._vfs, path.encode(), self._cwd)

    def symlink(self, target: str, path: str) -> None:
        namei.symlink(self._vfs, target.encode(), path.encode(), self._cwd)

    def tmpfs(self, path: str) -> None:
        do_new_mount(self._vfs, "none", None, self._node(path), type_name="tmpfs", options=parse_options(["rw"]))

    def bind(self, source: str, path: str) -> None:
        place = self._node(path)
        do_loopback(self._vfs, self._node(source), place)

    def umount(self, path: str) -> None:
        self._vfs.umount(path.encode(), self._cwd)

    def remount(self, path: str, options: str) -> None:
        do_remount(self._vfs, self._node(path), parse_options(options.split(",")))

    def chdir(self, path: str) -> None:
        dentry = self._node(path)
        if not dentry.inode.is_dir:
            raise KernelError(errno.ENOTDIR, path)
        dentry.hold()
        self._cwd.release()
        self._cwd = dentry

    def hold(self, path: str) -> None:
        self._held.append(open_file(self._vfs, path.encode(), O_WRONLY | O_CREAT, self._cwd))

    def drop(self) -> None:
        while self._held:
            self._held.pop().close()

    def list(self, path: str) -> str:
        dentry = self._node(path)
        if not dentry.inode.is_dir:
            raise KernelError(errno.ENOTDIR, path)
        return " ".join(
            sorted(child.name.decode() for child in self._vfs.children(dentry) if child.name.decode() in NAMES)
        )

    def kind(self, path: str) -> str:
        return f"{stat.S_IFMT(self._node(path, follow=False).inode.mode):o}"

    def where(self) -> str:
        if self._cwd.inode.links_count == 0:
            raise KernelError(errno.ENOENT, "the working directory was removed")
        return self._cwd.path.decode()


class HostTree:
    """This machine's kernel's side, in a mount namespace and a root of its own."""

    def __init__(self) -> None:
        self._held: list[int] = []

    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    unlink = staticmethod(os.unlink)
    symlink = staticmethod(os.symlink)
    chdir = staticmethod(os.chdir)
    where = staticmethod(os.getcwd)

    def create(self, path: str) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))

    def tmpfs(self, path: str) -> None:
        _mount("none", path, "tmpfs", 0)

    def bind(self, source: str, path: str) -> None:
        _mount(source, path, "", _MS_BIND)

    def umount(self, path: str) -> None:
        _call("umount2", path.encode(), 0)

    def remount(self, path: str, options: str) -> None:
        flags = {"remount": _MS_REMOUNT, "bind": _MS_BIND, "ro": _MS_RDONLY, "rw": 0}
        _mount("", path, "", sum(flags[word] for word in options.split(",")))

    def hold(self, path: str) -> None:
        self._held.append(os.open(path, os.O_WRONLY | os.O_CREAT))

    def drop(self) -> None:
        while self._held:
            os.close(self._held.pop())

    def list(self, path: str) -> str:
        return " ".join(sorted(entry.name for entry in os.scandir(path) if entry.name in NAMES))

    def kind(self, path: str) -> str:
        return f"{stat.S_IFMT(os.lstat(path).st_mode):o}"


def run_on_host(operations: list[Operation]) -> list[str]:
    """Do operations in a child with a mount namespace of its own, on a fresh tmpfs as its root."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as directory:
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                _call("unshare", _CLONE_NEWNS)
                _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
                _mount("none", directory, "tmpfs", 0)
                os.chroot(directory)
                os.chdir("/")
                with os.fdopen(writing, "w") as answer:
                    json.dump(run(HostTree(), operations), answer)
            except BaseException:
                traceback.print_exc(file=sys.stderr)
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        assert Path(directory).is_dir()
    assert text, "the child failed; see its traceback"
    left: list[str] = json.loads(text)
    return left


_LIBC = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, path: str, type_name: str, flags: int) -> None:
    _call("mount", source.encode(), path.encode(), type_name.encode(), ctypes.c_ulong(flags), None)


def _call(name: str, *words: object) -> None:
    if getattr(_LIBC, name)(*words):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
