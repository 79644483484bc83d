"""What CP answers on its control socket to whoever may operate it: commands (`cp`) and requests about segments.

The result is a response: return code, lines, and the same as data. docs/control-protocol.md describes it.
"""

from collections.abc import Mapping

from dcss.cp.console.messages import CommandError
from dcss.cp.program import ControlProgram
from dcss.cp.requests import ConsoleCommand, Export, Import, Response, Save, segment_request
from dcss.host.aio import TaskSet
from dcss.rpc.connection import ClientConnection
from dcss.rpc.protocol import Arguments
from dcss.rpc.server import Handler


def operator_handlers(cp: ControlProgram, tasks: TaskSet) -> Mapping[str, Handler]:
    """Return the handlers by the request's name.

    What they began ends in `tasks`, also when the client has gone; copies from and to files are undone then.
    """

    async def command(_client: ClientConnection, arguments: Arguments) -> Arguments:
        request = ConsoleCommand.from_arguments(arguments)
        response = await tasks.finish(cp.perform(request), f"cp {request.line}")
        return response.arguments()

    async def segment(_client: ClientConnection, arguments: Arguments) -> Arguments:
        try:
            request = segment_request(arguments)
        except CommandError as error:
            return Response.refusal(error).arguments()
        if isinstance(request, Import | Export) or (isinstance(request, Save) and request.content is not None):
            return (await cp.perform(request)).arguments()  # copies files: cancelled, and undone, if the client goes
        response = await tasks.finish(cp.perform(request), f"segment {request.action}")
        return response.arguments()

    return {"cp": command, "segment": segment}
