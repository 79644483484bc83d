"""A gdb stub as QEMU's: registers, virtual storage, and a list of why it stops, one for each time it is resumed."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class FakeStub:
    """Serves one end of a socket; `stops` are the addresses at which the machine stops; after them it ends."""

    registers: dict[int, int] = field(default_factory=dict)
    storage: bytearray = field(default_factory=lambda: bytearray(1 << 16))
    stops: list[tuple[int, str]] = field(default_factory=list)
    breakpoints: set[int] = field(default_factory=set)
    watched: list[str] = field(default_factory=list)
    steps: int = 0
    thread: str = "01"  # the CPU that stops
    ends_at: str = ""  # a packet that it does not answer
    signal: str = "05"  # of its stops
    before_stop: list[Mapping[int, int]] = field(default_factory=list)  # registers that the machine changes until then

    async def serve(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        while True:
            try:
                packet = (await reader.readuntil(b"#"))[:-1].lstrip(b"+")[1:].decode()
            except asyncio.IncompleteReadError:
                writer.close()
                return
            await reader.readexactly(2)
            if packet == self.ends_at:
                writer.close()
                return
            for answer in self.answers(packet):
                content = answer.encode()
                writer.write(b"$%b#%02x" % (content, sum(content) & 0xFF))

    def answers(self, packet: str) -> list[str]:
        return [self.answer(packet)]

    def answer(self, packet: str) -> str:
        kind, rest = packet[:1], packet[1:]
        match kind:
            case "c":
                return self.stop()
            case "v":
                assert packet == f"vCont;s:{self.thread}", "the CPU that stopped, and no other"
                self.steps += 1
                self.registers[1] = self.registers.get(1, 0) + 4
                return f"T05thread:{self.thread};"
            case "p":
                return f"{self.registers.get(int(rest, 16), 0):016x}"
            case "P":
                number, value = rest.split("=")
                self.registers[int(number, 16)] = int(value, 16)
            case "m":
                address, size = (int(word, 16) for word in rest.split(","))
                return self.storage[address : address + size].hex()
            case "M":
                place, data = rest.split(":")
                address = int(place.split(",")[0], 16)
                self.storage[address : address + len(data) // 2] = bytes.fromhex(data)
            case "Z" | "z":
                number, address_text, _ = rest.split(",")
                if number == "2":
                    self.watched.append(packet)
                elif kind == "Z":
                    self.breakpoints.add(int(address_text, 16))
                else:
                    self.breakpoints.discard(int(address_text, 16))
            case "q":
                return "PacketSize=1000"
        return "OK"

    def stop(self) -> str:
        if not self.stops:
            return "W00"
        address, why = self.stops.pop(0)
        if self.before_stop:
            self.registers.update(self.before_stop.pop(0))
        self.registers[1] = address
        return f"T{self.signal}thread:{self.thread};{why}"
