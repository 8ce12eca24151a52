"""The control interface under /_control, with which tests steer the simulator and look into it."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any

from simulator.scenarios import BadScenario
from simulator.wire import Connection, Request

if TYPE_CHECKING:
    from simulator.server import StandIn

Json = dict[str, Any]


class Control:
    """Serves the control requests of one simulator."""

    def __init__(self, simulator: StandIn) -> None:
        self._simulator = simulator

    async def handle(self, connection: Connection, request: Request) -> None:
        name = request.path.removeprefix("/_control/")
        if request.method == "GET" and name == "log":
            entries = await self._simulator.log.wait(request.query)
            await connection.reply(200, [entry.as_json() for entry in entries])
        elif request.method == "GET" and name == "stats":
            await connection.reply(200, self.stats())
        elif request.method == "GET" and name == "charges":
            await connection.reply(200, self._simulator.charges.as_json())
        elif request.method == "POST":
            try:
                self._change(name, request.json() or {})
            except (BadScenario, KeyError, TypeError, ValueError) as problem:
                await connection.reply(400, {"error": str(problem)})
            else:
                await connection.reply(200, {"ok": True, "n": self._simulator.log.total})
        else:
            await connection.reply(404, {"error": f"no control {request.method} {name}"})

    def _change(self, name: str, body: Json) -> None:
        simulator = self._simulator
        if name == "scenario":
            simulator.book.change(body)
        elif name == "release":
            simulator.gates.release(body["hold"], body.get("count"))
        elif name == "reset":
            simulator.reset()
        elif name == "models":
            simulator.catalogue.change(body)
        elif name == "key":
            simulator.key_invalid = bool(body.get("invalid", simulator.key_invalid))
            simulator.key_data.update({key: value for key, value in body.items() if key != "invalid"})
        elif name == "down":
            simulator.down = body
        else:
            raise BadScenario(f"no control {name!r}")

    def stats(self) -> Json:
        """Return counts of connections with API traffic and of requests, and this process's own CPU time and memory."""
        simulator = self._simulator
        connections = [connection for connection in simulator.connections if not connection.control_only]
        return {
            "open_connections": len(connections),
            "open_streams": simulator.log.open,
            "peak_open_streams": simulator.log.peak_open,
            "total": simulator.log.total,
            "cpu_seconds": time.process_time(),
            "max_rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "uptime": time.time() - simulator.started,
        }
