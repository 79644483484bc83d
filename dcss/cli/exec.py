"""`dcss exec GUEST -- COMMAND`: run a command in the guest's shell."""

import sys
from typing import TYPE_CHECKING

import click

from dcss.cli.options import json_option, print_json
from dcss.cli.systems import chosen, guest_argument, system_option
from dcss.errors import ConfigError

if TYPE_CHECKING:
    from dcss.rpc.protocol import Output


@click.command("exec")
@guest_argument
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@system_option
@json_option
def command(guest: str, words: tuple[str, ...], system: str | None, as_json: bool) -> int:
    """Run a command in a guest that is ready, and end with its exit status.

    \b
    dcss exec LINUX01 -- ls -l /usr/lib
    dcss exec LINUX01 --system demo -- cat /proc/meminfo
    dcss exec LINUX01 -- sh -c 'free > /tmp/free; cat /tmp/free'
    dcss exec LINUX01 -- help

    The output of the command goes to stdout and stderr unchanged, as it arrives.
    """
    from dcss.rpc.client import Client

    if not words:
        raise ConfigError("dcss exec: found no command, wanted one after --")
    captured: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def show(output: "Output") -> None:
        if as_json:
            captured[output.stream] += output.data
            return
        stream = sys.stdout if output.stream == "stdout" else sys.stderr
        stream.buffer.write(output.data)
        stream.buffer.flush()

    with Client(chosen(system)) as client:
        result = client.ask("exec", guest=guest, command=list(words), on_output=show)
    status = int(result["exit_status"])
    if as_json:
        texts = {name: bytes(data).decode(errors="surrogateescape") for name, data in captured.items()}
        print_json({"guest": guest, "exit_status": status, **texts})
    return status
