"""The packets between CP and the fork server. It imports no part of the guest kernel: CP runs without that.

CP -> server    log, with the descriptor of CP's log, once and first;
                a GuestSpec, with the guest's hypercall socket, console socket, log and disks as descriptors;
                kill and a guest's process id
server -> CP    hello with the addresses that it reserved; then, for each guest, started with a pidfd and then
                ended, or refused with the reason; template and template ended with the process id of one
"""

PACKET_BYTES = 1 << 17  # the longest GuestSpec
MAX_DESCRIPTORS = 253  # of one packet: SCM_MAX_FD of Linux
LOG = b"log"
_KILL = b"kill "  # and a process id; every other request but LOG is a GuestSpec, which is JSON


def pack_kill(pid: int) -> bytes:
    """Return the packet by which CP has a guest killed that it has no descriptor of."""
    return _KILL + str(pid).encode()


def unpack_kill(packet: bytes) -> int | None:
    """Return the process id in a packet that `pack_kill` made; None for another packet."""
    return int(packet[len(_KILL) :]) if packet.startswith(_KILL) else None
