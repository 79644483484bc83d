"""Load a program into a new address space: execve(2) up to the point where it begins to run."""

import stat
from collections.abc import Sequence
from errno import EACCES, ELOOP, ENOEXEC, ENOMEM
from typing import NamedTuple

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.credentials import MAY_EXEC
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.fs.open import FileDescription, open_dentry
from vmguest.fs.permission import check
from vmguest.identity import ROOT, Identity
from vmguest.mm_area import PROT_EXEC, PROT_READ, PROT_WRITE
from vmguest.s390x import elf
from vmguest.s390x.auxv import STACK_FIRST, ProgramStart, fill_stack
from vmguest.s390x.code_pages import CodePages
from vmguest.s390x.page_frames import PageFrames
from vmguest.s390x.space import STACK_BYTES, TASK_SIZE, FaultError, UserSpace

_PIE_BASE = 0x2AA_0000_0000  # ELF_ET_DYN_BASE of s390, without randomization
_HEAP_GAP_BYTES = 16 << 20
_MOST_SCRIPTS = 5  # a script's interpreter may be a script
_SCRIPT_LINE_BYTES = 256
_ANY_EXECUTE = 0o111
MOST_ARGUMENT_BYTES = STACK_BYTES // 4


class LoadedProgram(NamedTuple):
    """A program that is ready to run: its memory, first instruction and stack pointer."""

    space: UserSpace
    address: int
    stack_pointer: int
    executable: Dentry
    words: tuple[bytes, ...]
    environment: tuple[bytes, ...]
    auxiliary_vector: bytes
    identity: Identity  # as whom it runs


class ProgramLoader:
    """Loads programs for one guest."""

    def __init__(self, vfs: Vfs, frames: PageFrames, code: CodePages) -> None:
        self._vfs = vfs
        self._frames = frames
        self._code = code

    def load(
        self,
        path: bytes,
        words: Sequence[bytes],
        environment: Sequence[bytes],
        directory: Dentry | None,
        identity: Identity = ROOT,
    ) -> LoadedProgram:
        """Load a program that somebody runs. Raises KernelError: ENOENT, EACCES, ENOEXEC, ENOMEM, ELOOP."""
        name, arguments = path, list(words)
        for _ in range(_MOST_SCRIPTS):
            dentry = self._executable(path, directory)
            with open_dentry(self._vfs, dentry) as file:
                head = elf.read_at(file, _SCRIPT_LINE_BYTES, 0)
                if not head.startswith(b"#!"):
                    raised = _raised(identity, dentry)
                    return self._load(file, dentry, name, (arguments, environment), raised)
            interpreter, argument = _script_words(head)
            arguments = [interpreter, *argument, path, *arguments[1:]]
            path = name = interpreter
        raise KernelError(ELOOP, f"{path!r}: more than {_MOST_SCRIPTS} scripts that are run by scripts")

    def _executable(self, path: bytes, directory: Dentry | None) -> Dentry:
        dentry = self._vfs.resolve(path, start=directory)
        inode = dentry.inode
        if not inode.is_regular or not inode.mode & _ANY_EXECUTE or "noexec" in dentry.mount.flags:
            raise KernelError(EACCES, f"{path!r}: wanted a regular file that may be executed")
        check(dentry, self._vfs.user, MAY_EXEC)
        return dentry

    def _load(
        self,
        file: FileDescription,
        dentry: Dentry,
        path: bytes,
        strings: tuple[Sequence[bytes], Sequence[bytes]],
        identity: Identity,
    ) -> LoadedProgram:
        words, environment = strings
        header, table = _headers(file)
        space = UserSpace(self._frames, self._code)
        try:
            bias = _PIE_BASE if header.type == elf.ET_DYN else 0
            end = _map_segments(space, file, table, bias)
            entry = address = header.entry + bias
            base = 0
            interpreter = _interpreter(file, table)
            if interpreter is not None:
                base, address = self._load_interpreter(space, interpreter)
            space.program_end = space.break_end = (end + _HEAP_GAP_BYTES) & -PAGE_SIZE
            space.map(None, 0, STACK_BYTES >> PAGE_SHIFT, PROT_READ | PROT_WRITE, address=STACK_FIRST)
            start = ProgramStart(
                _headers_address(header, table, bias),
                header.headers,
                base,
                entry,
                identity,
            )
            pointer, vector = fill_stack(space, start, path, words, environment)
        except FaultError as error:
            space.release()
            raise KernelError(ENOMEM, "no room for the program's arguments") from error
        except BaseException:
            space.release()
            raise
        space.stale = False  # no CPU knows any of it yet
        return LoadedProgram(space, address, pointer, dentry.hold(), tuple(words), tuple(environment), vector, identity)

    def _load_interpreter(self, space: UserSpace, path: bytes) -> tuple[int, int]:
        """Load the dynamic loader; return where it lies, and its first instruction."""
        with open_dentry(self._vfs, self._executable(path, None)) as file:
            header, table = _headers(file)
            loads = [each for each in table if each.type == elf.PT_LOAD]
            pages = hostmem.pages(loads[-1].address + loads[-1].memory_bytes)
            base = space.find_gap(pages) << PAGE_SHIFT if header.type == elf.ET_DYN else 0
            _map_segments(space, file, table, base)
            return base, header.entry + base


def _raised(identity: Identity, dentry: Dentry) -> Identity:
    """Return who runs a program: its file's owner and group, where its set-id bits say so and count."""
    inode, counts = dentry.inode, not identity.no_new_privileges and "nosuid" not in dentry.mount.flags
    sets_group = inode.mode & stat.S_ISGID and inode.mode & stat.S_IXGRP
    owner = inode.uid if counts and inode.mode & stat.S_ISUID else None
    return identity.executed(owner, inode.gid if counts and sets_group else None)


def _headers(file: FileDescription) -> tuple[elf.ElfHeader, list[elf.ProgramHeader]]:
    header = elf.parse_header(elf.read_at(file, elf.HEAD_BYTES, 0))
    table = elf.parse_program_headers(elf.read_at(file, header.headers_bytes, header.headers_offset))
    if len(table) != header.headers or not any(each.type == elf.PT_LOAD for each in table):
        raise KernelError(ENOEXEC, "ELF file without segments to load")
    return header, table


def _interpreter(file: FileDescription, table: Sequence[elf.ProgramHeader]) -> bytes | None:
    found = next((each for each in table if each.type == elf.PT_INTERP), None)
    if found is None:
        return None
    name = elf.read_at(file, min(found.file_bytes, PAGE_SIZE), found.offset)
    if not name.endswith(b"\0"):
        raise KernelError(ENOEXEC, "the name of the ELF interpreter does not end")
    return name.rstrip(b"\0")


def _map_segments(space: UserSpace, file: FileDescription, table: Sequence[elf.ProgramHeader], bias: int) -> int:
    """Map what the table says, and return where it ends. Raises KernelError."""
    last = 0
    for each in table:
        if each.type != elf.PT_LOAD:
            continue
        offset = each.address % PAGE_SIZE
        start, end = bias + each.address, bias + each.address + each.memory_bytes
        if (
            each.offset % PAGE_SIZE != offset
            or each.file_bytes > each.memory_bytes
            or not 0 <= start <= end < TASK_SIZE
        ):
            raise KernelError(ENOEXEC, f"segment at {start:#x}: not to be mapped")
        protection = (
            (PROT_READ if each.flags & elf.PF_R else 0)
            | (PROT_WRITE if each.flags & elf.PF_W else 0)
            | (PROT_EXEC if each.flags & elf.PF_X else 0)
        )
        file_pages = hostmem.pages(offset + each.file_bytes) if each.file_bytes else 0
        pages = hostmem.pages(offset + each.memory_bytes)
        first = start - offset
        if file_pages:
            space.map(file, each.offset >> PAGE_SHIFT, file_pages, protection, address=first)
        if pages > file_pages:
            space.map(None, 0, pages - file_pages, protection, address=first + file_pages * PAGE_SIZE)
        rest = -(offset + each.file_bytes) % PAGE_SIZE
        if file_pages and rest and each.memory_bytes > each.file_bytes and each.flags & elf.PF_W:
            space.write(start + each.file_bytes, bytes(rest))
        last = max(last, end)
    return last


def _headers_address(header: elf.ElfHeader, table: Sequence[elf.ProgramHeader], bias: int) -> int:
    for each in table:
        if each.type == elf.PT_LOAD and each.offset <= header.headers_offset < each.offset + each.file_bytes:
            return bias + each.address + header.headers_offset - each.offset
    return 0


def _script_words(head: bytes) -> tuple[bytes, list[bytes]]:
    """Return a script's interpreter, and the one argument that its first line may have."""
    line = head[2:].split(b"\n", 1)[0].strip(b" \t\r")
    words = line.split(None, 1)
    if not words:
        raise KernelError(ENOEXEC, "script without an interpreter")
    return words[0], [word.strip(b" \t") for word in words[1:]]
