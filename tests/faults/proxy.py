"""A TCP proxy between a job and its S3 server that injects faults, request by request.

Signatures cover the Host header with the proxy's own port, and bytes pass unchanged, so signed requests work through
it. A client keeps its connections, so the dice are thrown for each request and not for each connection: a chunk from
the client that begins like a request is one, as it waits for a reply before it sends the next.
"""

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK = 65536
FAULTS = ("latency", "refused", "reset", "unavailable", "lost reply", "black hole")
REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
CONTINUE = b"HTTP/1.1 100 "  # asks for the body: not the reply
REFUSALS = {
    "unavailable": ("503 Slow Down", "SlowDown", "Please reduce your request rate."),
    "broken": ("500 Internal Server Error", "InternalError", "We encountered an internal error."),
    "denied": ("403 Forbidden", "AccessDenied", "Access Denied"),
}


@dataclass(frozen=True)
class Weather:
    """What may happen to a request. `requests`: a pattern of the requests concerned, as in `PUT /bucket/key`."""

    faults: tuple[str, ...] = ()
    probability: float = 1.0
    requests: str = ""


@dataclass
class Proxy:
    """Runs in a thread; `weather` may be changed at any time."""

    target: str
    seed: int = 0
    weather: Weather = Weather()
    injected: Counter[str] = field(default_factory=Counter)
    seen: list[str] = field(default_factory=list)

    def __enter__(self) -> "Proxy":
        self._random = random.Random(self.seed)
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", 0))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        async def close() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _choose(self, request: str) -> str | None:
        weather = self.weather
        self.seen.append(request)
        if not weather.faults or not re.search(weather.requests, request):
            return None
        if self._random.random() >= weather.probability:
            return None
        fault = self._random.choice(weather.faults)
        self.injected[fault] += 1
        return fault

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = urlsplit(self.target)
        try:
            server = await asyncio.open_connection(target.hostname, target.port)
        except OSError:  # the server is down, and the client is to see just that
            _reset(writer)
            return
        exchange = _Exchange(self, reader, writer, *server)
        replies = asyncio.create_task(exchange.replies())
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await exchange.requests()
        replies.cancel()
        for end in (writer, server[1]):
            end.close()


@dataclass
class _Exchange:
    """One connection: what passes between a client and the server."""

    proxy: Proxy
    client_reader: asyncio.StreamReader
    client: asyncio.StreamWriter
    server_reader: asyncio.StreamReader
    server: asyncio.StreamWriter
    fault: str | None = None

    async def requests(self) -> None:
        while data := await self.client_reader.read(CHUNK):
            if found := REQUEST.match(data):
                method, path = (part.decode() for part in found.groups())
                self.fault = self.proxy._choose(f"{method} {path}")
                if self.fault in REFUSALS:
                    self._refuse(*REFUSALS[self.fault], with_body=method != "HEAD")
                elif self.fault == "latency":
                    await asyncio.sleep(self.proxy._random.uniform(0.05, 0.5))
                elif self.fault == "refused":
                    _reset(self.client)
                    return
                elif self.fault == "reset" and method == "PUT":
                    self.server.write(data[: len(data) // 2])
                    await self.server.drain()
                    _reset(self.client)
                    return
            if self.fault != "black hole" and self.fault not in REFUSALS:
                self.server.write(data)
                await self.server.drain()

    async def replies(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self.server_reader.read(CHUNK):
                if data.startswith(CONTINUE) or self.fault in (None, "latency"):
                    self.client.write(data)
                    await self.client.drain()
                    continue
                if self.fault == "reset":
                    self.client.write(data[: len(data) // 2])
                    await self.client.drain()
                _reset(self.client)
                return
        _reset(self.client)  # the server hung up

    def _refuse(self, status: str, code: str, message: str, *, with_body: bool) -> None:
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if with_body else ""
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        self.client.write(f"{head}Connection: close\r\n\r\n{body}".encode())


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    if connection.fileno() >= 0:
        linger = struct.pack("ii", 1, 0)  # so that closing sends a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
