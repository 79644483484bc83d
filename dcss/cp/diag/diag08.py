"""CP's side of DIAGNOSE X'08': a guest's CP commands, with the privilege classes that its directory entry gives it."""

from dcss.abi.diag08 import (
    LENGTH_MASK,
    LINE_END,
    MAX_COMMAND_BYTES,
    REQUEST_HEAD,
    RESPONSE_IN_BUFFER,
    RequestHead,
)
from dcss.abi.diag64 import ConditionCode
from dcss.abi.hypercall import MAX_BLOCK_BYTES, Reply, Request
from dcss.cp.machine import RegisteredMachine
from dcss.cp.operations import Host, perform
from dcss.cp.requests import ConsoleCommand, Issuer

RESPONSE_STORED = ConditionCode.DONE
RESPONSE_CUT = 1


async def diagnose_08(host: Host, machine: RegisteredMachine, request: Request) -> Reply:
    """Answer one DIAGNOSE X'08' of `machine`. Raises nothing, whatever the guest sends.

    The return code is that of the last command.
    """
    command = request.block[REQUEST_HEAD.size :]
    if len(request.block) < REQUEST_HEAD.size or len(command) > MAX_COMMAND_BYTES:
        return Reply(ConditionCode.UNSUPPORTED, request.rx, request.ry)
    if request.ry & LENGTH_MASK != len(command):
        return Reply(ConditionCode.UNSUPPORTED, request.rx, request.ry)
    head = RequestHead._make(REQUEST_HEAD.unpack_from(request.block))
    issuer = Issuer(machine.name, machine.privileges, machine)
    return_code = 0
    lines: list[str] = []
    for line in command.decode("cp037").split(LINE_END):
        response = await perform(host, ConsoleCommand(line), issuer)
        return_code = response.return_code
        lines += response.lines
    if not request.ry & RESPONSE_IN_BUFFER:
        return Reply(RESPONSE_STORED, request.rx, return_code)
    text = "".join(line + LINE_END for line in lines).encode("cp037", "replace")
    stored = text[: min(head.buffer_bytes, MAX_BLOCK_BYTES)]
    if len(stored) == len(text):
        return Reply(RESPONSE_STORED, len(text), return_code, stored)
    return Reply(RESPONSE_CUT, len(text) - len(stored), return_code, stored)
