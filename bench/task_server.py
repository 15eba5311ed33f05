"""Server that answers every poll of a task with its unfinished state.

``python -m bench.task_server PATH`` prints its port and runs until it is terminated. ``/count``
returns the number of polls so far.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from aiohttp import web

BUSY = {"status": "TASK_STATUS_PROCESSING", "progress_percent": 40, "eta": 3}


polls = itertools.count()


async def answer(request: web.Request) -> web.Response:
    next(polls)
    return web.json_response({"task": {**BUSY, "task_id": request.query["task_id"]}})


async def count(request: web.Request) -> web.Response:
    return web.json_response(next(polls))


async def serve(path: str) -> None:
    application = web.Application()
    application.router.add_get(path, answer)
    application.router.add_get("/count", count)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
