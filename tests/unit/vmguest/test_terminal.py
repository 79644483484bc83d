"""Terminals as programs see them: reads, requests, signals of keys and windows, job control, and hanging up."""

import stat
import struct
from collections.abc import Callable, Iterator
from errno import EAGAIN, EBADF, EINVAL, EIO, ENOTTY, EPERM, ESPIPE, ESRCH

import pytest
from cp_support import BlockingCp
from guest_support import guest_kernel
from program_support import ADDRESS, FakeMemory, errno_of, ioctl, read

from vmguest.fs.devpts import devpts_type
from vmguest.fs.ioctls import FIONREAD
from vmguest.fs.open import O_RDONLY, O_RDWR, FileDescription, open_file
from vmguest.fs.options import MountOptions
from vmguest.fs.poll import POLLERR, POLLHUP, READABLE, WRITABLE
from vmguest.kernel import Kernel
from vmguest.terminal import Terminal
from vmguest.tty import termios
from vmguest.tty.jobs import Caller, JobControl
from vmguest.tty.termios import TOSTOP, Termios

SIGHUP, SIGINT, SIGCONT, SIGTTIN, SIGTTOU, SIGWINCH = 1, 2, 18, 21, 22, 28
SHELL, JOB, OTHER = 100, 101, 200  # groups; OTHER is in a session of its own


class FakeJobs:
    """A shell that leads session SHELL, a job of it, and a process of another session."""

    def __init__(self) -> None:
        self.now: Caller | None = None
        self.ignored: set[int] = set()
        self.orphaned = False
        self.with_terminal: set[int] = set()  # sessions
        self.controlled: list[JobControl | None] = []

    def act_as(self, group_id: int) -> None:
        session_id = OTHER if group_id == OTHER else SHELL
        leads, has_terminal = group_id == session_id, session_id in self.with_terminal
        self.now = Caller(group_id, session_id, leads, has_terminal, self.ignored.__contains__)

    def caller(self) -> Caller | None:
        return self.now

    def session_of(self, group_id: int) -> int | None:
        return {SHELL: SHELL, JOB: SHELL, OTHER: OTHER}.get(group_id)

    def is_orphaned(self, group_id: int) -> bool:
        return self.orphaned

    def control(self, job: JobControl | None) -> None:
        self.controlled.append(job)

    def released(self, job: JobControl) -> None:
        self.controlled.append(None)


class Person:
    """Somebody at a terminal, with the time standing still until it is moved."""

    def __init__(self, kernel: Kernel) -> None:
        self.screen = bytearray()
        self.signals: list[tuple[int, int]] = []
        self.seconds = 100.0
        self.room = True
        self.terminal = Terminal(
            self.screen.extend,
            lambda group, number: self.signals.append((group, number)),
            has_room=lambda: self.room,
            clock=lambda: self.seconds,
        )
        self.jobs = FakeJobs()
        if "devpts" not in {each.name for each in kernel.vfs.types}:
            kernel.devices.directories.append(b"pts")
            devpts = devpts_type(kernel.devices)
            kernel.vfs.types.register(devpts)
            file_system = devpts.mount(None, MountOptions(), kernel.vfs.file_systems)
            kernel.vfs.graft(file_system, kernel.vfs.resolve(b"/dev/pts"))
        self.file = self.terminal.open(kernel.vfs, O_RDWR, self.jobs)

    def set(self, settings: Termios, request: int = termios.TCSETS) -> None:
        ioctl(self.file, request, settings.pack())


@pytest.fixture
def kernel(control_program: BlockingCp) -> Iterator[Kernel]:
    with guest_kernel(control_program) as kernel:
        yield kernel


@pytest.fixture
def person(kernel: Kernel) -> Person:
    return Person(kernel)


def integer(value: int) -> bytes:
    return struct.pack(">i", value)


def test_a_terminal_is_a_device_in_dev_pts(person: Person, kernel: Kernel) -> None:
    inode = person.file.dentry.inode
    assert (stat.S_ISCHR(inode.mode), inode.rdev) == (True, (136, 0))
    assert person.file.dentry.path == b"/dev/pts/0"
    assert kernel.vfs.resolve(b"/dev/pts/0").inode == inode
    second = Person(kernel)
    assert second.file.dentry.path == b"/dev/pts/1"
    with open_file(kernel.vfs, b"/dev/pts/1", O_RDWR) as again:
        again.write(b"shown")
        second.terminal.input(b"typed\n")
        assert read(again) == b"typed\n"
    assert second.screen == b"showntyped\r\n"
    second.terminal.remove(kernel.vfs)
    assert [entry.name for entry in kernel.vfs.children(kernel.vfs.resolve(b"/dev/pts"))] == [b"0"]


def test_a_terminal_has_a_place_in_no_tree_where_dev_is_not_the_kernels(control_program: BlockingCp) -> None:
    with guest_kernel(control_program) as kernel:
        opened = Terminal(lambda _data: None, lambda _group, _number: None).open(kernel.vfs, O_RDWR)
        assert (opened.dentry.path, opened.dentry.inode.rdev) == (b"/dev/pts/0", (136, 0))
        assert opened.dentry.mount.at == b"/"


def test_lines_are_read_and_output_is_shown(person: Person) -> None:
    assert person.file.poll() == WRITABLE
    assert errno_of(lambda: read(person.file)) == EAGAIN
    person.terminal.input(b"one\ntwo")
    assert person.file.poll() == READABLE | WRITABLE
    assert int.from_bytes(ioctl(person.file, FIONREAD)[:4]) == 4
    assert read(person.file) == b"one\n"
    assert errno_of(lambda: read(person.file)) == EAGAIN
    person.terminal.input(b"\x04\x04")
    assert (read(person.file), read(person.file)) == (b"two", b"")
    assert person.file.write(b"a\nb") == 3
    assert person.screen == b"one\r\ntwoa\r\nb"
    assert errno_of(lambda: person.file.seek(0)) == ESPIPE


def test_output_waits_while_it_is_held_back_or_has_no_room(person: Person) -> None:
    person.terminal.input(b"\x13")
    assert person.file.poll() == 0
    assert errno_of(lambda: person.file.write(b"x")) == EAGAIN
    person.terminal.input(b"\x11")
    person.room = False
    assert person.file.poll() == 0
    assert errno_of(lambda: person.file.write(b"x")) == EAGAIN
    person.room = True
    assert person.file.write(b"x") == 1


def test_settings_are_read_and_written_in_both_forms(person: Person) -> None:
    assert ioctl(person.file, termios.TCGETS)[:36] == Termios().pack()
    changed = Termios(lflag=termios.ECHO)
    person.terminal.input(b"typed")
    person.set(changed, termios.TCSETSW)
    assert ioctl(person.file, termios.TCGETS2)[:44] == changed.pack2()
    assert read(person.file) == b"typed"
    person.terminal.input(b"more")
    ioctl(person.file, termios.TCSETSF2, Termios().pack2())
    assert ioctl(person.file, termios.TCGETS)[:36] == Termios().pack()
    assert errno_of(lambda: read(person.file)) == EAGAIN


def test_flushing_and_holding_by_request(person: Person) -> None:
    memory = FakeMemory()
    person.terminal.input(b"typed\n")
    person.file.ioctl(termios.TCFLSH, termios.TCOFLUSH, memory)
    assert person.terminal.discipline.readable_bytes() == 6
    person.file.ioctl(termios.TCFLSH, termios.TCIFLUSH, memory)
    assert person.terminal.discipline.readable_bytes() == 0
    person.file.ioctl(termios.TCXONC, termios.TCOOFF, memory)
    assert person.file.poll() == 0
    person.file.ioctl(termios.TCXONC, termios.TCOON, memory)
    assert person.file.poll() == WRITABLE
    for request in (termios.TCFLSH, termios.TCXONC):
        assert errno_of(lambda request=request: person.file.ioctl(request, 9, memory)) == EINVAL  # type: ignore[misc]
    assert errno_of(lambda: person.file.ioctl(0x1234, ADDRESS, memory)) == ENOTTY
    for request in (termios.TCSBRK, termios.TIOCEXCL):
        assert person.file.ioctl(request, 1, memory) == 0


def raw(minimum: int, tenths: int) -> Termios:
    characters = bytearray(Termios().characters)
    characters[termios.VMIN], characters[termios.VTIME] = minimum, tenths
    return Termios(iflag=0, oflag=0, lflag=0, characters=bytes(characters))


def test_a_raw_read_waits_for_vmin_bytes(person: Person) -> None:
    person.set(raw(3, 0))
    person.terminal.input(b"ab")
    assert person.file.poll() == WRITABLE
    assert errno_of(lambda: read(person.file)) == EAGAIN
    assert person.file.alarm_seconds() is None
    person.terminal.input(b"cd")
    assert person.file.poll() == READABLE | WRITABLE
    assert read(person.file) == b"abcd"
    person.terminal.input(b"ef")
    assert read(person.file, 2) == b"ef"


def test_a_raw_read_without_vmin_ends_after_vtime(person: Person) -> None:
    person.set(raw(0, 5))
    assert errno_of(lambda: read(person.file)) == EAGAIN
    assert person.file.alarm_seconds() == pytest.approx(0.5)
    person.seconds += 0.4
    assert errno_of(lambda: read(person.file)) == EAGAIN
    assert person.file.alarm_seconds() == pytest.approx(0.1)
    person.seconds += 0.2
    assert person.file.alarm_seconds() == 0
    assert read(person.file) == b""
    assert person.file.alarm_seconds() is None
    assert errno_of(lambda: read(person.file)) == EAGAIN
    person.terminal.input(b"x")
    assert read(person.file) == b"x"
    person.set(raw(0, 0))
    assert read(person.file) == b""


def test_a_raw_read_with_vmin_and_vtime_ends_when_nothing_more_comes(person: Person) -> None:
    person.set(raw(3, 5))
    assert errno_of(lambda: read(person.file)) == EAGAIN
    assert person.file.alarm_seconds() is None
    person.seconds += 100
    person.terminal.input(b"a")
    assert errno_of(lambda: read(person.file)) == EAGAIN
    person.seconds += 0.4
    person.terminal.input(b"b")
    assert errno_of(lambda: read(person.file)) == EAGAIN
    assert person.file.alarm_seconds() == pytest.approx(0.5)
    person.seconds += 0.6
    assert read(person.file) == b"ab"


def test_a_window_tells_its_size_and_when_that_changes(person: Person) -> None:
    person.terminal.job.take(SHELL, JOB)
    person.terminal.resize(24, 80)
    person.terminal.resize(24, 80)
    assert person.signals == [(JOB, SIGWINCH)]
    assert ioctl(person.file, termios.TIOCGWINSZ)[:8] == bytes.fromhex("0018 0050 0000 0000")
    ioctl(person.file, termios.TIOCSWINSZ, bytes.fromhex("0010 0020 0100 0200"))
    assert person.terminal.size == (16, 32, 256, 512)
    assert person.signals == [(JOB, SIGWINCH)] * 2


def test_keys_signal_the_foreground_only(person: Person) -> None:
    person.terminal.input(b"\x03")
    assert person.signals == []
    person.terminal.job.take(SHELL, JOB)
    person.terminal.input(b"\x03")
    assert person.signals == [(JOB, SIGINT)]
    assert person.screen == b"^C^C"


def test_a_leader_takes_a_terminal_and_puts_jobs_into_the_foreground(person: Person) -> None:
    jobs, terminal = person.jobs, person.terminal
    jobs.act_as(JOB)
    assert errno_of(lambda: ioctl(person.file, termios.TIOCSCTTY)) == EPERM
    jobs.act_as(SHELL)
    assert errno_of(lambda: ioctl(person.file, termios.TIOCGPGRP)) == ENOTTY
    ioctl(person.file, termios.TIOCSCTTY)
    ioctl(person.file, termios.TIOCSCTTY)
    assert jobs.controlled == [terminal.job]
    assert ioctl(person.file, termios.TIOCGSID)[:4] == ioctl(person.file, termios.TIOCGPGRP)[:4] == integer(SHELL)
    ioctl(person.file, termios.TIOCSPGRP, integer(JOB))
    assert terminal.job.foreground_id == JOB
    jobs.act_as(JOB)
    wrong = {OTHER: EPERM, 999: ESRCH, -1: EINVAL}
    for group, errno in wrong.items():
        assert errno_of(lambda group=group: ioctl(person.file, termios.TIOCSPGRP, integer(group))) == errno  # type: ignore[misc]
    jobs.act_as(OTHER)
    assert errno_of(lambda: ioctl(person.file, termios.TIOCSCTTY)) == EPERM
    assert errno_of(lambda: ioctl(person.file, termios.TIOCGPGRP)) == ENOTTY
    assert errno_of(lambda: ioctl(person.file, termios.TIOCNOTTY)) == ENOTTY


def test_who_is_in_the_background_is_stopped(person: Person) -> None:
    jobs, terminal = person.jobs, person.terminal
    terminal.job.take(SHELL, SHELL)
    terminal.input(b"typed\n")
    jobs.act_as(JOB)
    attempts: list[tuple[Callable[[], object], int]] = [
        (lambda: read(person.file), SIGTTIN),
        (lambda: person.set(Termios()), SIGTTOU),
        (lambda: ioctl(person.file, termios.TIOCSPGRP, integer(JOB)), SIGTTOU),
        (lambda: person.file.ioctl(termios.TCFLSH, 0, FakeMemory()), SIGTTOU),
    ]
    for attempt, number in attempts:
        person.signals.clear()
        assert errno_of(attempt) == EAGAIN
        assert person.signals == [(JOB, number)]
    jobs.orphaned = True
    assert [errno_of(attempt) for attempt, _ in attempts] == [EIO] * 4
    jobs.ignored.update({SIGTTIN, SIGTTOU})
    assert errno_of(attempts[0][0]) == EIO
    assert errno_of(attempts[2][0]) is None
    assert terminal.job.foreground_id == JOB
    assert read(person.file) == b"typed\n"


def test_writing_in_the_background_is_allowed_unless_tostop_says_otherwise(person: Person) -> None:
    person.terminal.job.take(SHELL, SHELL)
    person.set(Termios(lflag=Termios().lflag | TOSTOP))
    person.jobs.act_as(JOB)
    assert errno_of(lambda: person.file.write(b"x")) == EAGAIN
    assert person.signals == [(JOB, SIGTTOU)]
    person.jobs.act_as(SHELL)
    person.set(Termios())
    person.jobs.act_as(JOB)
    assert person.file.write(b"x") == 1


def test_a_leader_that_gives_the_terminal_up_hangs_the_foreground_up(person: Person) -> None:
    person.terminal.job.take(SHELL, JOB)
    person.jobs.act_as(JOB)
    ioctl(person.file, termios.TIOCNOTTY)
    assert person.signals == []
    assert person.jobs.controlled == [None]
    person.jobs.act_as(SHELL)
    ioctl(person.file, termios.TIOCNOTTY)
    assert person.signals == [(JOB, SIGHUP), (JOB, SIGCONT)]
    assert person.terminal.job.session_id == 0


def test_after_hanging_up_reads_end_and_nothing_else_works(person: Person) -> None:
    person.terminal.job.take(SHELL, JOB)
    person.terminal.input(b"lost\n")
    person.terminal.hang_up()
    person.terminal.hang_up()
    assert person.signals == [(SHELL, SIGHUP), (SHELL, SIGCONT)]
    person.terminal.input(b"too late\n")
    assert read(person.file) == b""
    assert person.file.poll() == READABLE | WRITABLE | POLLERR | POLLHUP
    assert errno_of(lambda: person.file.write(b"x")) == EIO
    assert errno_of(lambda: ioctl(person.file, termios.TCGETS)) == EIO


def test_a_terminal_opened_for_reading_cannot_be_written(person: Person, kernel: Kernel) -> None:
    opened: FileDescription = person.terminal.open(kernel.vfs, O_RDONLY)
    assert errno_of(lambda: opened.write(b"x")) == EBADF
