"""A connection to the control socket for tests that call a request's handler themselves."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dcss.rpc.connection import ClientConnection


@asynccontextmanager
async def connected_client() -> AsyncIterator[ClientConnection]:
    """Give a client as CP sees it, whose other end stays open and reads nothing."""
    host, other = socket.socketpair()
    with other:
        client = await ClientConnection.open(host)
        try:
            yield client
        finally:
            client.close()
            await asyncio.sleep(0)  # it is closed by the event loop
