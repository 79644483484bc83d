"""A running system: CP, the fork server and the guests, served by one loop in one thread."""

import os
import selectors
import signal
import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from dcss.abi.channel import MAX_PACKET_BYTES, send_reply
from dcss.config.plan import GuestPlan, SystemPlan
from dcss.cp.control import ControlProgram
from dcss.errors import ConfigError
from dcss.launch.forkclient import ForkServer, Started
from dcss.launch.guest import Guest
from dcss.launch.segments import publish_segment
from dcss.report.progress import Progress
from vmguest.bootstrap import GuestSpec

ENGINES = ("process",)


class System:
    """One system from its CP's start to its end; leaving the context takes everything down."""

    def __init__(self, plan: SystemPlan, progress: Progress) -> None:
        check_engines(plan)
        self.plan = plan
        self.guests: dict[str, Guest] = {}
        self._progress = progress
        self._selector = selectors.DefaultSelector()
        with ExitStack() as stack:
            stack.callback(self._selector.close)
            # Exec'd before anything is published: no guest can inherit what CP holds.
            self.fork_server = ForkServer()
            stack.callback(self.fork_server.close)
            self.cp = stack.enter_context(ControlProgram(plan.name))
            stack.callback(self._close_guests)
            self._selector.register(self.fork_server.control, selectors.EVENT_READ, self._fork_event)
            self._closing = stack.pop_all()

    def publish(self) -> None:
        """Put every segment of the plan into shared memory. Raises ImageError, PublishError."""
        for segment in self.plan.segments:
            publish_segment(self.cp, segment, self._progress)

    def launch(self) -> None:
        """Start every guest of the plan."""
        self._progress.phase("start guests", len(self.plan.guests), "guests")
        for guest in self.plan.guests:
            self._start(guest)
            self.poll(0)

    def wait(self) -> None:
        """Serve guests until each one's `run:` list has ended, well or not."""
        while any(not guest.settled for guest in self.guests.values()):
            self.poll(None)

    def poll(self, timeout_seconds: float | None) -> None:
        """Serve what is ready: hypercalls, verdicts, ends of processes."""
        for key, _ in self._selector.select(timeout_seconds):
            key.data()

    def close(self) -> None:
        """Take everything down: guests, fork server, shared memory. A second Ctrl-C waits until that is done."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._closing.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, plan: GuestPlan) -> None:
        port, their_port = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console, their_console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        guest = Guest(plan, port, console, self.cp.lock.directory / f"{plan.name}.log")
        self.guests[plan.name] = guest
        self.cp.register(plan.name, storage_bytes=plan.storage_bytes)
        with their_port, their_console:
            log = os.open(guest.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self.fork_server.spawn(spec_of(plan), their_port, their_console, log)
            finally:
                os.close(log)
        self._selector.register(port, selectors.EVENT_READ, lambda: self._hypercall(guest))
        self._selector.register(console, selectors.EVENT_READ, lambda: self._console(guest))

    def _hypercall(self, guest: Guest) -> None:
        try:
            packet = guest.port.recv(MAX_PACKET_BYTES + 1, socket.MSG_DONTWAIT)
            if packet:
                send_reply(guest.port, self.cp.handle(guest.name, packet))
                return
        except BlockingIOError:
            guest.kill()  # it sends and does not read: the others must not wait for it
        except OSError:
            pass  # it ended, and the fork server says how
        self._forget(guest.port)

    def _console(self, guest: Guest) -> None:
        settled = guest.settled
        if not guest.hear():
            self._forget(guest.console)
        if guest.settled and not settled:
            self._progress.advance()

    def _fork_event(self) -> None:
        event = self.fork_server.event()
        guest = self.guests[event.name]
        if isinstance(event, Started):
            guest.pid, guest.pidfd = event.pid, event.pidfd
            return
        settled = guest.settled
        guest.hear()  # its last word may still be on the way
        guest.ended(event.status)
        self.cp.release(guest.name)
        self._forget(guest.port)
        self._forget(guest.console)
        if not settled:
            self._progress.advance()

    def _forget(self, sock: socket.socket) -> None:
        if sock.fileno() in self._selector.get_map():
            self._selector.unregister(sock)

    def _close_guests(self) -> None:
        for guest in self.guests.values():
            guest.close()


def check_engines(plan: SystemPlan) -> None:
    """Raise ConfigError for guests whose engine this version cannot run."""
    findings = [
        f"{guest.where}: engine: found {guest.engine}, wanted {', '.join(ENGINES)} (others are not built yet)"
        for guest in plan.guests
        if guest.engine not in ENGINES
    ]
    if findings:
        raise ConfigError(*findings)


def spec_of(plan: GuestPlan) -> GuestSpec:
    """Return what a guest is told of itself."""
    return GuestSpec(
        plan.name,
        plan.storage_bytes,
        plan.dcssblk,
        tuple((mount.device, mount.at, mount.options) for mount in plan.mounts),
        tuple((step.verb, str(step.argument)) for step in plan.run),
    )
