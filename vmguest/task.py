"""A process of the guest (struct task_struct): open files, a working directory and an address space."""

from vmguest.credentials import ROOT, Credentials
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.machine import VirtualMachine
from vmguest.mm import AddressSpace
from vmguest.mm_area import PROT_READ


class Task:
    """One process. Without a `directory` its working directory is the root, which it does not keep mounted."""

    __slots__ = ("_directory", "credentials", "files", "mm", "vfs")

    def __init__(
        self,
        machine: VirtualMachine,
        vfs: Vfs,
        directory: Dentry | None = None,
        credentials: Credentials = ROOT,
    ) -> None:
        self.vfs = vfs
        self.credentials = credentials
        self.mm = AddressSpace(machine)
        self.files = Descriptors(vfs)
        self._directory = None if directory is None else directory.hold()

    @property
    def directory(self) -> Dentry:
        """The working directory."""
        return self.vfs.root() if self._directory is None else self._directory

    def chdir(self, directory: Dentry) -> None:
        """Change the working directory; the new one is kept mounted in place of the old one."""
        directory.hold()
        if self._directory is not None:
            self._directory.release()
        self._directory = directory

    def mmap(
        self,
        number: int | None,
        first_page: int,
        pages: int,
        protection: int = PROT_READ,
        *,
        shared: bool = True,
        address: int | None = None,
    ) -> int:
        """Map pages of an open file, or anonymous memory; return the address. Raises KernelError as mmap(2) does."""
        file = None if number is None else self.files.get(number)
        return self.mm.map(file, first_page, pages, protection, shared=shared, address=address)

    def exit(self) -> None:
        """Close every file, unmap everything and leave the working directory."""
        self.files.close_all()
        self.mm.unmap_all()
        if self._directory is not None:
            self._directory.release()
            self._directory = None
