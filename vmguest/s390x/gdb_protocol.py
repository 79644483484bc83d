"""The remote serial protocol of gdb, from the side of what is debugged (gdb's manual, appendix E)."""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from dcss.errors import KernelError

_INTERRUPT = 0x03
_PACKET_BYTES = 0x4000
_ERROR = b"E01"
# gdb has numbers of its own for signals (include/gdb/signals.def): where Linux's differ, by Linux's number.
_GDB_SIGNALS = {
    **{7: 10, 10: 30, 12: 31, 16: 143, 17: 20, 18: 19, 19: 17, 20: 18, 23: 16, 29: 23, 30: 32, 31: 12, 32: 77, 64: 78},
    **{number: number + 12 for number in range(33, 64)},
}
_LINUX_SIGNALS = {gdb: linux for linux, gdb in _GDB_SIGNALS.items()}


class Resumption(NamedTuple):
    """How a thread goes on: for one instruction or not, and with which signal of Linux, 0 for none."""

    step: bool
    signal: int


class Target(Protocol):
    """One program that is debugged. It stands still while requests are made; errors are KernelError."""

    @property
    def thread_ids(self) -> Sequence[int]:
        """Ids of its threads, that of the one that stopped first."""
        ...

    @property
    def stop_signal(self) -> int:
        """Why it stands still."""
        ...

    def select(self, tid: int) -> None:
        """Have registers be those of one thread; 0 and -1 stand for any."""
        ...

    def description(self) -> bytes:
        """Return the registers as gdb's target description, in XML."""
        ...

    def registers(self) -> bytes:
        """Return all registers in the order of the description."""
        ...

    def set_registers(self, packed: bytes) -> None:
        """Set all registers."""
        ...

    def auxiliary_vector(self) -> bytes:
        """Return what the kernel told the program at its start."""
        ...

    def read_memory(self, address: int, size_bytes: int) -> bytes:
        """Return bytes of memory, without breakpoints."""
        ...

    def write_memory(self, address: int, data: bytes) -> None:
        """Store bytes, also where the program itself may not."""
        ...

    def insert_breakpoint(self, address: int) -> None:
        """Have the program stop before an instruction."""
        ...

    def remove_breakpoint(self, address: int) -> None:
        """Have it stop there no more."""
        ...

    def resume(self, actions: Mapping[int, Resumption]) -> None:
        """Have threads go on, by their ids; the others stand still."""
        ...

    def interrupt(self) -> None:
        """Have it stop."""
        ...

    def kill(self) -> None:
        """End it."""
        ...

    def detach(self) -> None:
        """Let it run without a debugger."""
        ...


class GdbServer:
    """Answers gdb. `send` takes what goes to it."""

    def __init__(self, target: Target, send: Callable[[bytes], None]) -> None:
        self._target = target
        self._send = send
        self._received = b""
        self._acknowledges = True
        self._ended: bytes | None = None

    def feed(self, data: bytes) -> None:
        """Take what gdb sends."""
        self._received += data
        while self._received:
            if self._received[0] == _INTERRUPT:
                self._received = self._received[1:]
                self._target.interrupt()
                continue
            start = self._received.find(b"$")
            if start < 0:
                self._received = b""  # acknowledgements
                return
            end = self._received.find(b"#", start)
            if end < 0 or len(self._received) < end + 3:
                return
            packet, self._received = self._received[start + 1 : end], self._received[end + 3 :]
            if self._acknowledges:
                self._send(b"+")
            self._answer(packet)

    def stopped(self) -> None:
        """Tell gdb that the program stands still."""
        self._reply(self._stop_reply())

    def ended(self, code: int, signal: int) -> None:
        """Tell gdb that the program has ended."""
        self._ended = b"X%02x" % _GDB_SIGNALS.get(signal, signal) if signal else b"W%02x" % code
        self._reply(self._ended)

    def _answer(self, packet: bytes) -> None:
        try:
            reply = self._reply_to(packet)
        except (KernelError, ValueError, IndexError, struct.error):
            reply = _ERROR
        if reply is not None:
            self._reply(reply)

    def _reply(self, reply: bytes) -> None:
        self._send(b"$%s#%02x" % (reply, sum(reply) & 0xFF))

    def _reply_to(  # noqa: PLR0911 - one for each kind
        self, packet: bytes
    ) -> bytes | None:
        """Return the reply to a packet: empty for one that is not known, None where it comes later."""
        kind, rest = packet[:1], packet[1:]
        if kind in {b"q", b"Q"}:
            return self._query(packet)
        if self._ended is not None and kind != b"?":
            return _ERROR
        match kind:
            case b"?":
                return self._ended or self._stop_reply()
            case b"H":
                if rest[:1] == b"g":
                    self._target.select(int(rest[1:], 16))
                return b"OK"
            case b"T":
                return b"OK" if int(rest, 16) in self._target.thread_ids else _ERROR
            case b"g":
                return self._target.registers().hex().encode()
            case b"G":
                self._target.set_registers(bytes.fromhex(rest.decode()))
                return b"OK"
            case b"m" | b"M" | b"Z" | b"z":
                return self._memory(kind, rest)
            case b"c" | b"C" | b"s" | b"S" | b"v":
                return self._resume(packet)
            case b"k" | b"D":
                (self._target.kill if kind == b"k" else self._target.detach)()
                return b"OK" if kind == b"D" else None
        return b""

    def _query(  # noqa: PLR0911 - one for each query
        self, packet: bytes
    ) -> bytes:
        target = self._target
        if packet.startswith(b"qSupported"):
            return (
                b"PacketSize=%x;qXfer:features:read+;qXfer:auxv:read+;QStartNoAckMode+;vContSupported+" % _PACKET_BYTES
            )
        if packet == b"QStartNoAckMode":
            self._acknowledges = False
            return b"OK"
        if packet == b"qfThreadInfo":
            return b"m" + b",".join(b"%x" % each for each in target.thread_ids)
        if packet == b"qsThreadInfo":
            return b"l"
        if packet == b"qC":
            return b"QC%x" % target.thread_ids[0]
        if packet.startswith(b"qAttached"):
            return b"0"
        if packet.startswith(b"qXfer:features:read:target.xml:"):
            return _part(target.description(), packet)
        if packet.startswith(b"qXfer:auxv:read::"):
            return _part(target.auxiliary_vector(), packet)
        return b""

    def _memory(self, kind: bytes, rest: bytes) -> bytes:
        target = self._target
        if kind in {b"Z", b"z"}:
            breakpoint_kind, where, _ = rest.split(b",")[:3]
            if breakpoint_kind != b"0":
                return b""  # software breakpoints only
            (target.insert_breakpoint if kind == b"Z" else target.remove_breakpoint)(int(where, 16))
            return b"OK"
        place, _, data = rest.partition(b":")
        address_text, size_text = place.split(b",")
        address, size_bytes = int(address_text, 16), int(size_text, 16)
        if kind == b"m":
            return target.read_memory(address, min(size_bytes, _PACKET_BYTES // 2 - 8)).hex().encode()
        target.write_memory(address, bytes.fromhex(data.decode()))
        return b"OK"

    def _resume(self, packet: bytes) -> bytes | None:
        if packet == b"vCont?":
            return b"vCont;c;C;s;S"
        if packet.startswith(b"vKill"):
            self._target.kill()
            return b"OK"
        actions: dict[int, Resumption] = {}
        for part in packet.removeprefix(b"vCont;").split(b";"):
            action, _, thread = part.partition(b":")
            if action[:1] not in {b"c", b"C", b"s", b"S"}:
                return b""
            signal = int(action[1:3], 16) if action[:1] in {b"C", b"S"} else 0
            resumption = Resumption(action[:1] in {b"s", b"S"}, _LINUX_SIGNALS.get(signal, signal))
            tid = int(thread, 16) if thread else -1
            for each in self._target.thread_ids if tid < 0 else [tid]:
                actions.setdefault(each, resumption)  # the first one that is meant for a thread
        self._target.resume(actions)
        return None

    def _stop_reply(self) -> bytes:
        threads, signal = self._target.thread_ids, self._target.stop_signal
        thread = b"thread:%x;" % threads[0] if threads else b""
        return b"T%02x%s" % (_GDB_SIGNALS.get(signal, signal), thread)


def _part(data: bytes, packet: bytes) -> bytes:
    """Return the part of an object that a packet asks for, binary, with m before the last one."""
    offset, length = (int(number, 16) for number in packet.rsplit(b":", 1)[1].split(b","))
    part = data[offset : offset + length]
    escaped = bytearray()
    for byte in part:
        if byte in b"#$}*":
            escaped += bytes((0x7D, byte ^ 0x20))
        else:
            escaped.append(byte)
    return (b"m" if offset + length < len(data) else b"l") + bytes(escaped)
