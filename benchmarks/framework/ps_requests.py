"""Ask a running CP for `ps` again and again, in a thread, and note how long each answer takes."""

import socket
import threading
import time
from pathlib import Path
from typing import Self

PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 600
REQUEST = b'{"dcss": 1, "request": "ps"}\n'


class PsRequests:
    """Requests from entering the block to leaving it, at least one; `seconds` has how long each answer took."""

    def __init__(self, control: Path) -> None:
        self._path = str(control)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.seconds: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while True:
            asked = time.monotonic()
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(PATIENCE_SECONDS)
                control.connect(self._path)
                control.sendall(REQUEST)
                while chunk := control.recv(1 << 20):
                    if chunk.endswith(b"\n"):
                        break
            self.seconds.append(time.monotonic() - asked)
            if self._stop.wait(PAUSE_SECONDS):
                return
