"""All that runs the s390x programs of one guest, put together; what system calls are given."""

from collections.abc import Callable
from errno import ENOSYS
from time import monotonic, time
from weakref import WeakKeyDictionary

from vmguest.fs.open import FileDescription
from vmguest.fs.socket_names import SocketNames
from vmguest.kernel import Kernel
from vmguest.s390x.code_pages import CodePages
from vmguest.s390x.cpu import Cpu
from vmguest.s390x.futexes import Futexes
from vmguest.s390x.life import Life
from vmguest.s390x.message_queues import MessageQueues
from vmguest.s390x.oops import Oops
from vmguest.s390x.page_frames import PageFrames
from vmguest.s390x.posix_queues import PosixQueues
from vmguest.s390x.process import Thread
from vmguest.s390x.process_table import ProcessTable
from vmguest.s390x.program import ProgramLoader
from vmguest.s390x.scheduler import Scheduler
from vmguest.s390x.self_test import stops_are_exact
from vmguest.s390x.semaphores import Semaphores
from vmguest.s390x.shared_segments import SharedSegments
from vmguest.s390x.timers import Timers


class System:
    """The parts, each with one task. `resume`, `on_crash` and `failed` are the traps'."""

    def __init__(
        self,
        kernel: Kernel,
        resume: Callable[[Thread], bool],
        on_crash: Callable[[Thread, int], None],
        failed: Callable[[Thread | None, Exception], None],
    ) -> None:
        self.kernel = kernel
        self.vfs = kernel.vfs
        reservation = kernel.machine.reservation
        self.cpu = Cpu(reservation.window, reservation.window_bytes)
        if not stops_are_exact():
            self.cpu.stops.use_hook()
            kernel.log.log("warning", "programs run slowly: this version of Unicorn stops exactly by a hook only")
        self.frames = PageFrames(kernel.machine)
        self.code = CodePages(self.frames, self.cpu.forget_code)
        self.loader = ProgramLoader(kernel.vfs, self.frames, self.code)
        self.table = ProcessTable(kernel.machine.storage.size_bytes)
        self.futexes = Futexes()
        self.timers = Timers()
        self.life = Life(self.cpu, self.table, self.loader, self.futexes, on_crash)
        self.delivery = self.life.delivery
        self.oops = Oops(kernel, self.life.kill)
        self.scheduler = self.life.scheduler = Scheduler(self.cpu, self.timers, resume, failed)
        self.booted = monotonic()
        self.sockets = SocketNames()
        self.segments = SharedSegments(kernel.machine.storage)
        self.semaphores = Semaphores()
        self.queues = MessageQueues(kernel.machine.storage.size_bytes)
        self.posix_queues = PosixQueues(kernel.machine.storage.size_bytes)
        self._unknown: set[str] = set()
        # The entries of directories that are being read, as they were when that began.
        self.listings: WeakKeyDictionary[FileDescription, list[tuple[int, int, bytes]]] = WeakKeyDictionary()

    def unknown(self, what: str) -> int:
        """Say that there is no such call: once in the log, and to the program by the result, which is returned."""
        if what not in self._unknown:
            self._unknown.add(what)
            self.kernel.log.log("info", f"{what} is not implemented")
        return -ENOSYS

    def monotonic(self) -> float:
        """Return the time that deadlines and timers go by, in seconds."""
        return monotonic()

    def now(self) -> float:
        """Return the time of day, in seconds since 1970."""
        return time()
