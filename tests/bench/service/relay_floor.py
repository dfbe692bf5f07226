"""The floor that the service is measured against: a FastAPI relay which stores nothing and checks nobody.

It does the same visible job with the same wire encoding: takes an `Append`, gives it a number, sends it as an
`Entry` to every open stream of the channel, and answers with a receipt. Same server, loop and HTTP parser.
"""

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pourparler_policies import wire

app = FastAPI()
heads: dict[str, int] = defaultdict(int)
readers: dict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)


@app.post("/v1/channels/{channel}/entries", status_code=201)
async def append(channel: str, request: Request) -> Response:
    asked = wire.Append.model_validate_json(await request.body())
    heads[channel] = seq = heads[channel] + 1
    now = int(time.time())
    entry = wire.Entry(
        seq=seq,
        entry=asked.entry,
        handshake=asked.handshake,
        sealed=asked.sealed,
        received_at=now,
        expires_at=now + asked.life,
    )
    event = b"event: entry\nid: %d\ndata: %b\n\n" % (seq, entry.model_dump_json().encode())
    for queue in readers[channel]:
        queue.put_nowait(event)
    receipt = wire.Receipt(seq=seq, received_at=now, expires_at=now + asked.life)
    return Response(receipt.model_dump_json(), 201, media_type="application/json")


@app.get("/v1/channels/{channel}/stream")
async def stream(channel: str) -> StreamingResponse:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    readers[channel].add(queue)

    async def events() -> AsyncIterator[bytes]:
        yield b'event: head\ndata: {"head":0}\n\n'
        while True:
            event = await queue.get()
            while not queue.empty():
                event += queue.get_nowait()
            yield event

    return StreamingResponse(events(), media_type="text/event-stream")


def main() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="critical",
        server_header=False,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)

    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
