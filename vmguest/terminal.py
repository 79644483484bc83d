"""A terminal for programs: somebody types, programs read lines, and keys signal the programs in the foreground."""

import stat
from collections.abc import Callable
from errno import EIO
from time import monotonic

from dcss.errors import KernelError
from vmguest.fs.anonymous import ANON_INODEFS, anonymous_dentry
from vmguest.fs.devices import CharacterDevice
from vmguest.fs.devpts import MAJOR, MODE, TTY_GROUP
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs, existing
from vmguest.fs.open import O_ACCMODE, O_RDONLY, FileDescription
from vmguest.tty.file import TerminalFile
from vmguest.tty.jobs import SIGCONT, SIGHUP, SIGWINCH, JobControl, Jobs
from vmguest.tty.line_discipline import LineDiscipline
from vmguest.tty.output import OutputProcessor
from vmguest.tty.termios import ICANON, WindowSize


class Terminal:
    """A person's side. `output` gets what is to be shown; `signal_group(group, number)` sends the signals of keys.

    `has_room` says whether anything more can be shown now; without it everything can. `job` says which session the
    terminal controls, and which group of processes is in the foreground.
    """

    def __init__(
        self,
        output: Callable[[bytes], None],
        signal_group: Callable[[int, int], None],
        *,
        has_room: Callable[[], bool] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.job = JobControl(signal_group)
        self.clock = clock
        self.last_input_seconds = clock()
        self.inputs = 0  # ever
        self.hung_up = False
        self.size = WindowSize()
        self.opens = 0  # of programs, now
        self._has_room = has_room
        self._output = OutputProcessor(output)
        self.discipline = LineDiscipline(self._output, self.job.signal_foreground)
        self._dentry: Dentry | None = None

    def input(self, data: bytes) -> None:
        """Take what somebody types."""
        if not self.hung_up:
            self.last_input_seconds = self.clock()
            self.inputs += 1
            self.discipline.receive(data)

    def resize(self, rows: int, columns: int, width_pixels: int = 0, height_pixels: int = 0) -> None:
        """Change the size of the window; the foreground gets SIGWINCH where it is another one."""
        size = WindowSize(rows, columns, width_pixels, height_pixels)
        if size != self.size:
            self.size = size
            self.job.signal_foreground(SIGWINCH)

    def hang_up(self) -> None:
        """End the connection: the session's leader gets SIGHUP, reads come to the end, and nothing can be written."""
        if not self.hung_up:
            self.hung_up = True
            self.discipline.flush_input()
            self.job.signal_leader(SIGHUP)
            self.job.signal_leader(SIGCONT)
            self.job.release()

    @property
    def takes_output(self) -> bool:
        """Whether programs can write now."""
        return not self.discipline.stopped and (self._has_room is None or self._has_room())

    def show(self, data: bytes) -> None:
        """Show what a program writes. Raises KernelError(EIO) where somebody hung up."""
        if self.hung_up:
            raise KernelError(EIO, "the terminal was hung up")
        self._output.write(data)

    def ready_bytes(self) -> int:
        """Return how much can be read at once, 0 while it is less than a read waits for."""
        minimum, seconds = self.discipline.minimum_and_time()
        available = self.discipline.available_bytes()
        canonical = self.discipline.settings.lflag & ICANON
        return available if canonical or seconds or available >= minimum else 0

    @property
    def device_number(self) -> int:
        """The number of its device as stat(2) packs it, 0 before its first open."""
        if self._dentry is None:
            return 0
        major, minor = self._dentry.inode.rdev
        return major << 8 | minor & 0xFF | (minor & ~0xFF) << 12

    def file(self) -> TerminalFile:
        """Open it, as its node in /dev does."""
        self.opens += 1
        return TerminalFile(self)

    def closed(self) -> None:
        """Count one open less."""
        self.opens -= 1

    def open(self, vfs: Vfs, flags: int, jobs: Jobs | None = None) -> FileDescription:
        """Open it for a program; the first time it becomes a device of the guest, with a node in /dev/pts.

        `jobs` knows the processes, for job control.
        """
        if jobs is not None:
            self.job.jobs = jobs
        self.register(vfs)
        assert self._dentry is not None, "it has just been registered"
        file = self.file()
        target = None if flags & O_ACCMODE == O_RDONLY else file
        return FileDescription(vfs, self._dentry, file, flags, target=target, device=file)

    def remove(self, vfs: Vfs) -> None:
        """Hang up, and take the node out of /dev/pts."""
        self.hang_up()
        if self._dentry is not None:
            vfs.devices.unregister_chrdev(self._dentry.inode.rdev)
            self._dentry = None

    def register(self, vfs: Vfs) -> int:
        """Make it a device with a node in /dev/pts, if it is none yet; return its number there."""
        if self._dentry is None:
            self._dentry = self._register(vfs)
        return self._dentry.inode.rdev[1]

    def _register(self, vfs: Vfs) -> Dentry:
        """Make it a device; return its node, or one in no tree where /dev is not the kernel's."""
        minor = vfs.devices.free_minor(MAJOR)
        path = b"/dev/pts/%d" % minor
        number = (MAJOR, minor)
        name = path.removeprefix(b"/dev/")
        vfs.devices.register_chrdev(CharacterDevice(name, number, self.file, MODE, vfs.user.uid, TTY_GROUP))
        node = existing(vfs, path)
        if node is not None and stat.S_ISCHR(node.inode.mode) and node.inode.rdev == number:
            return node
        return anonymous_dentry(vfs, ANON_INODEFS, stat.S_IFCHR | MODE, path.decode(), rdev=number)
