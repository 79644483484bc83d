"""The guests of a system: started a few at a time, heard, and started again where their policy says so."""

import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from errno import EMFILE

from dcss.abi.hypercall import MAX_PACKET_BYTES, Reply, send_reply
from dcss.config.plan import GuestPlan, Step, SystemPlan
from dcss.cp.program import ControlProgram
from dcss.engines.process.forkclient import Ended, ForkServer, Refused, Started
from dcss.engines.process.storage import GuestStorage
from dcss.host.rlimits import explain
from dcss.rpc.loop import Loop
from dcss.system.guest import QUICK_RESTARTS, Member, State
from dcss.system.instance import Guest
from dcss.system.jobs import Jobs, Outcome
from dcss.system.log import SystemLog, utc_now
from vmguest.bootstrap import GuestSpec

# The server forks one guest after the other; more requests than it can have in its queue would only wait there.
SPAWNS_IN_FLIGHT = 8
_LAST_WORD_SECONDS = 2.0  # for so long a guest may live on that said it failed
_AGAIN_SECONDS = 0.05  # until the server is asked again whose queue was full


class Supervisor:
    """All guests of one plan. `settled` is called with each guest once, when its first start has come to something.

    That is so when it is ready, or has failed and is not soon started again.
    """

    def __init__(
        self,
        plan: SystemPlan,
        *,
        cp: ControlProgram,
        fork_server: ForkServer,
        loop: Loop,
        jobs: Jobs,
        journal: SystemLog,
        settled: Callable[[Member], None],
    ) -> None:
        self.members = {guest.name: Member(guest) for guest in plan.guests}
        self._cp, self._fork_server, self._loop, self._journal = cp, fork_server, loop, journal
        self._errands, self._settled = jobs, settled
        self._unsettled = set(self.members)
        self._missing = {guest.name: len(guest.after) for guest in plan.guests}  # how many are to be ready before
        self._behind: dict[str, list[Member]] = {}  # what comes after a guest
        for member in self.members.values():
            for name in member.plan.after:
                self._behind.setdefault(name, []).append(member)
        self._just_settled: deque[Member] = deque()
        self._queue: deque[Member] = deque()
        self._in_flight = 0
        loop.watch(fork_server.control, self._fork_event)

    @property
    def all_settled(self) -> bool:
        """The first start of every guest has come to something."""
        return not self._unsettled

    def launch(self) -> None:
        """Start every guest, those with `after:` once all that they come after are ready. Raises LaunchError."""
        for member in self.members.values():
            if member.plan.after:
                self._enter(member, State.WAITING)
        self.start(*(member for member in self.members.values() if not member.plan.after))

    def start(self, *members: Member) -> None:
        """Start guests that have no process, as soon as it is their turn. Raises LaunchError: the server is gone."""
        for member in members:
            self._cancel_timer(member)
            member.wanted, member.reason = True, ""
            self._enter(member, State.STARTING)
            self._queue.append(member)
        self._pump()

    def stop(self, member: Member) -> None:
        """Kill a guest's process, or call off its next start. It is stopped once its process has ended."""
        member.wanted = False
        self._cancel_timer(member)
        if member in self._queue:
            self._queue.remove(member)
            self._enter(member, State.STOPPED)
        elif member.lives:
            if member.guest is not None:
                member.guest.kill()  # does nothing before it is started: then _started does it
        else:
            self._enter(member, State.STOPPED)

    def hold(self, member: Member) -> Callable[[], None]:
        """Hear no more from a guest's console, which in the end makes it wait; return what hears it again."""
        guest = member.guest
        assert guest is not None, "only what was started can be held"
        self._loop.forget(guest.console)

        def resume() -> None:
            if guest.console.fileno() >= 0:
                self._loop.watch(guest.console, lambda: self._console(member, guest))

        return resume

    def close(self) -> None:
        """Wait until every process has ended, which the fork server's end has brought about, and close everything."""
        for member in self.members.values():
            guest = member.guest
            if guest is None:
                continue
            if guest.pid is not None and guest.exit_status is None:
                # The server has ended, so the guest is this process's child, and its number its own.
                which, number = (os.P_PID, guest.pid) if guest.pidfd is None else (os.P_PIDFD, guest.pidfd)
                with suppress(ChildProcessError):  # the fork server had waited for it
                    os.waitid(which, number, os.WEXITED)
            guest.close()

    def _pump(self) -> None:
        while self._queue and self._in_flight < SPAWNS_IN_FLIGHT:
            member = self._queue.popleft()
            try:
                if not self._spawn(member):
                    self._queue.appendleft(member)
                    return
            except OSError as error:
                self._refused(member, explain(error))

    def _spawn(self, member: Member) -> bool:
        plan = member.plan
        log_path = self._cp.lock.directory / f"{plan.name}.log"
        with ExitStack() as ours, ExitStack() as theirs:
            port, their_port = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.enter_context(port)
            theirs.enter_context(their_port)
            console, their_console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.enter_context(console)
            theirs.enter_context(their_console)
            log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            theirs.callback(os.close, log)
            if member.guest is not None:
                with suppress(OSError):  # a full disk
                    os.write(log, f"--- started again {utc_now()} ---\n".encode())
            if not self._fork_server.spawn(spec_of(plan), their_port, their_console, log):
                return False
            ours.pop_all()
        guest = Guest(plan, port, console, log_path)
        self._in_flight += 1
        member.guest = guest
        self._cp.register(
            plan.name,
            storage_bytes=plan.storage_bytes,
            namesave=frozenset(plan.namesave),
            privilege=plan.privilege,
            dump=GuestStorage(guest, self._fork_server.reservation.window).dump,
        )
        return True

    def _hypercall(self, member: Member, guest: Guest) -> None:
        packet = b""
        try:
            packet = guest.port.recv(MAX_PACKET_BYTES + 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # said to be readable, and is not: the kernel may be wrong about that, select(2) says
        except ConnectionError:
            pass  # it ended, and the fork server says how
        except OSError as error:
            self._give_up(member, guest, f"CP could not take its hypercall: {explain(error)}")
        waited = False

        def answer(outcome: Outcome[Reply]) -> None:
            if self._reply(member, guest, outcome()) and waited:
                self._loop.watch(guest.port, lambda: self._hypercall(member, guest))

        if packet:
            waited = not self._errands.run(self._cp.handle_steps(guest.name, packet), answer)
        if waited or not packet:
            self._loop.forget(guest.port)  # one hypercall at a time

    def _reply(self, member: Member, guest: Guest, reply: Reply) -> bool:
        """Send a reply; return False to a guest that hears none any more."""
        if guest.port.fileno() < 0:  # it ended while it waited
            return False
        try:
            send_reply(guest.port, reply)
        except ConnectionError:
            pass  # it ended, and the fork server says how
        except BlockingIOError:  # the others must not wait for it
            self._give_up(member, guest, "it makes hypercalls and does not read CP's replies")
        except OSError as error:  # without a reply it would wait for ever
            self._give_up(member, guest, f"CP could not reply to its hypercall: {explain(error)}")
        else:
            return True
        self._loop.forget(guest.port)
        return False

    def _give_up(self, member: Member, guest: Guest, reason: str) -> None:
        """End a guest that cannot go on, which has then failed for `reason`."""
        member.reason = reason
        guest.kill()

    def _console(self, member: Member, guest: Guest) -> None:
        before = guest.verdict
        if not guest.hear():
            self._loop.forget(guest.console)
        if guest.verdict is None or guest.verdict is before:
            return
        if guest.ready:
            if member.wanted:  # otherwise it is being killed, and whoever waits, waits for its end
                self._enter(member, State.READY)
        else:
            self._loop.after(_LAST_WORD_SECONDS, guest.kill)

    def _fork_event(self) -> None:
        event = self._fork_server.event()
        if event is None:
            return
        member = self.members[event.name]
        match event:
            case Started():
                self._started(member, event)
            case Refused():
                self._in_flight -= 1
                self._cp.release(member.name)
                self._refused(member, event.reason)
            case Ended():
                self._ended(member, event.status)
        self._pump()

    def _started(self, member: Member, event: Started) -> None:
        guest = member.guest
        assert guest is not None, "the server starts what it is asked for"
        self._in_flight -= 1
        guest.pid, guest.pidfd = event.pid, event.pidfd
        if event.pidfd is None:
            # It cannot be held, so it shall not be: it is not heard, and fails when it has ended.
            member.reason = explain(OSError(EMFILE, os.strerror(EMFILE)))
            self._kill_by_server(event.pid)
            return
        # Not heard before: SAVESEG reads the process's storage, and what sends nonsense is killed.
        self._loop.watch(guest.port, lambda: self._hypercall(member, guest))
        self._loop.watch(guest.console, lambda: self._console(member, guest))
        self._enter(member, State.RUNNING)
        if not member.wanted:
            guest.kill()

    def _kill_by_server(self, pid: int) -> None:
        if not self._fork_server.kill(pid):
            self._loop.after(_AGAIN_SECONDS, lambda: self._kill_by_server(pid))

    def _ended(self, member: Member, status: int) -> None:
        guest = member.guest
        assert guest is not None, "what ended was started"
        guest.ended(status)
        self._cp.release(member.name)
        self._close(guest)
        verdict = guest.verdict
        if member.reason:
            self._failed(member, State.FAILED, member.reason)
        elif verdict is not None and verdict.exit_status != 0:
            self._failed(member, State.FAILED, verdict.message or f"failed with status {verdict.exit_status}")
        elif status < 0:
            self._failed(member, State.KILLED, f"killed by {signal_name(-status)}")
        else:
            self._failed(member, State.FAILED, f"ended with status {status}")

    def _refused(self, member: Member, reason: str) -> None:
        member.reason = reason
        if member.guest is not None:
            self._close(member.guest)
        self._failed(member, State.FAILED, reason)

    def _failed(self, member: Member, state: State, how: str) -> None:
        if not member.wanted:
            self._enter(member, State.STOPPED)
            return
        delay_seconds = member.next_delay_seconds()
        if delay_seconds is None:
            self._journal.note(f"guest {member.name}: {how}")
            self._enter(member, state)
            return
        member.row += 1
        member.restarts += 1
        self._journal.note(f"guest {member.name}: {how}; it is started again in {delay_seconds:g} s")
        member.timer = self._loop.after(delay_seconds, lambda: self.start(member))
        self._enter(member, State.RESTARTING)

    def _enter(self, member: Member, state: State) -> None:
        member.enter(state)
        if not (state.settled or (state is State.RESTARTING and member.row > QUICK_RESTARTS)):
            return
        if member.name in self._unsettled:
            self._unsettled.remove(member.name)
            self._settled(member)
            self._just_settled.append(member)
            if len(self._just_settled) == 1:  # else whoever emptied the queue comes to it: a row may be long
                self._release_waiting()
        waiters, member.waiters = member.waiters, []
        for waiter in waiters:
            waiter()

    def _release_waiting(self) -> None:
        """Start the guests that waited for what settled alone, or fail them where it is not ready."""
        while self._just_settled:
            settled = self._just_settled[0]
            for member in self._behind.get(settled.name, ()):
                self._missing[member.name] -= 1
                if member.state is not State.WAITING:
                    continue
                if settled.state is not State.READY:
                    member.reason = f"not started, since it comes after {settled.name}, which is {settled.state}"
                    self._journal.note(f"guest {member.name}: {member.reason}")
                    self._enter(member, State.FAILED)
                elif not self._missing[member.name]:
                    self.start(member)
            self._just_settled.popleft()

    def _close(self, guest: Guest) -> None:
        self._loop.forget(guest.port)
        self._loop.forget(guest.console)
        guest.close()

    def _cancel_timer(self, member: Member) -> None:
        if member.timer is not None:
            member.timer.cancel()
            member.timer = None


def signal_name(number: int) -> str:
    """Return SIGKILL for 9; a number without a name stays one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def spec_of(plan: GuestPlan) -> GuestSpec:
    """Return what a guest is told of itself."""
    return GuestSpec(
        plan.name,
        plan.storage_bytes,
        plan.dcssblk,
        tuple((mount.device, mount.at, mount.options) for mount in plan.mounts),
        tuple(_step_of(step) for step in plan.run),
    )


def _step_of(step: Step) -> tuple[str, ...]:
    words = (step.argument,) if isinstance(step.argument, str) else step.argument
    return (step.verb, *words)
