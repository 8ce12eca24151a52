"""The rows of the table: what each asks, how its figure is computed, and which figure is the goal."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import history, servers
from bench.load import Generator, Load, Measured
from bench.processes import Generating, Server, free_port, generate, wait_for
from bench.servers import Target

#: Each figure is measured so many times, for a part of the time: the machine may be busy with something else.
ROUNDS = 3

_STREAM_END = {"/api/chat": '"done":true'}


@dataclass(slots=True)
class Figure:
    """One measured figure: the median of the rounds, all of them, and what else is to be known about it."""

    value: float
    rounds: list[float] = field(default_factory=list)
    note: str = ""


@dataclass(slots=True)
class Line:
    """A line of the table. `figures` are by server: "proxy", "direct", "nginx", "litellm"; None: not measurable.

    `goal` was set on a machine where nginx's figure was `nginx_then` (0: not known). On any other, and on a busy one,
    the ratio to nginx in the same run says more than the figure.
    """

    name: str
    unit: str
    goal: float
    nginx_then: float = 0.0
    figures: dict[str, Figure | None] = field(default_factory=dict)
    note: str = ""


@dataclass(slots=True)
class Stage:
    """What runs while the rows are measured, and for how many seconds each figure is measured."""

    folder: Path
    upstream: Target
    proxy: Target
    nginx: Target | None
    litellm: Target | None
    seconds: float
    streams: int = 1000

    def peers(self) -> dict[str, Target]:
        """The servers beside the proxy."""
        return {name: target for name, target in (("nginx", self.nginx), ("litellm", self.litellm)) if target}


def chat(target: Target, mode: str, *, path: str = "", stream: bool = True, **fields: Any) -> dict[str, Any]:
    """The members of a Load that asks `target` for a chat in which the upstream behaves as `mode` says."""
    body = {"model": target.model, "messages": [{"role": "user", "content": f"bench:{mode}"}], "stream": stream}
    path = path or target.path
    last = _STREAM_END.get(path, "[DONE]") if stream else ""
    text = json.dumps({**body, **fields}, separators=(",", ":"))
    return {"port": target.port, "path": path, "body": text, "words": int(mode.split(":")[1]), "last": last}


def _cpu(server: Server, load: dict[str, Any], *, per_word: bool, seconds: float, clients: int = 4) -> Figure | None:
    """CPU of `server` in microseconds, for each answer or each word of the answers."""
    rounds, problems, rates, busy = [], [], [], []
    generate(Load(**load, clients=clients, requests_each=3, seconds=2, grace=10))  # what is made at first use
    for _ in range(ROUNDS):
        before = server.cpu()
        got = generate(Load(**load, clients=clients, seconds=seconds / ROUNDS))
        used = server.cpu() - before
        count = got.words if per_word else got.answers
        if got.lost or not count:
            problems.append(got.problem)
            continue
        rounds.append(used / count * 1e6)
        rates.append(count / got.seconds)
        busy.append(got.cpu / got.seconds)
    if not rounds:
        print(f"  cannot be measured: {problems[0]}", file=sys.stderr)
        return None
    note = f"{statistics.median(rates):,.0f}/s, load generator {statistics.median(busy):.0%} busy"
    return Figure(statistics.median(rounds), rounds, note + (f"; LOST: {problems[0]}" if problems else ""))


def _cpu_line(
    stage: Stage, line: Line, mode: str, *, path: str, per_word: bool, stream: bool = True, ollama: bool = True
) -> Line:
    """The proxy's figure, the peers', and the direct one, whose CPU is the stand-in upstream's own."""
    unit = 1.0 if line.unit == "µs" else 1e-3

    def measure(target: Target, path: str = "") -> Figure | None:
        load = chat(target, mode, path=path, stream=stream)
        figure = _cpu(target.server, load, per_word=per_word, seconds=stage.seconds)
        return _scaled(figure, unit)

    line.figures["proxy"] = measure(stage.proxy, path if ollama else "")
    line.figures["direct"] = measure(stage.upstream)
    for name, peer in stage.peers().items():
        line.figures[name] = measure(peer)
    return line


def _scaled(figure: Figure | None, unit: float) -> Figure | None:
    if figure is None:
        return None
    return Figure(figure.value * unit, [value * unit for value in figure.rounds], figure.note)


def request(stage: Stage) -> list[Line]:
    """A chat that is not streamed. The proxy asks upstream for a stream also then; the peers pass on one object."""
    line = Line("request, not streamed, 20 tokens", "ms", 0.80, 0.03)
    return [_cpu_line(stage, line, "burst:20", path="/api/chat", per_word=False, stream=False)]


def burst(stage: Stage) -> list[Line]:
    """200 events back to back, in Ollama's form. The peers pass on OpenAI's: nothing has to be translated there."""
    line = Line("streamed, 200 events in a burst, Ollama API", "µs", 7, 0.4)
    return [_cpu_line(stage, line, "burst:200", path="/api/chat", per_word=True)]


def burst_openai(stage: Stage) -> list[Line]:
    """The same, passed on as it comes."""
    line = Line("streamed, 200 events in a burst, OpenAI API", "µs", 2, 0.4)
    return [_cpu_line(stage, line, "burst:200", path="", per_word=True, ollama=False)]


def _paced(target: Target, path: str, *, streams: int, step: int, seconds: float) -> Figure | None:
    """CPU a word with `streams` open at once, each with a word every `step` milliseconds."""
    events = max(int(seconds * 1000 / step), 20)
    load = chat(target, f"paced:{events}:{step}", path=path)
    before = target.server.cpu()
    got = generate(Load(**load, clients=streams, requests_each=1, ramp=step / 1000, seconds=1, grace=seconds * 3 + 10))
    used = target.server.cpu() - before
    if not got.words or got.lost > streams // 2:
        print(f"  cannot be measured: {got.problem}", file=sys.stderr)
        return None
    note = f"{got.words / got.seconds:,.0f}/s, load generator {got.cpu / got.seconds:.0%} busy"
    return Figure(used / got.words * 1e6, [used / got.words * 1e6], note + (f"; LOST {got.lost}" if got.lost else ""))


def paced(stage: Stage) -> list[Line]:
    """200 streams at once, an event every 20 ms in each."""
    line = Line("streamed, paced, 200 at once, Ollama API", "µs", 42, 9)
    targets = {"proxy": (stage.proxy, "/api/chat"), "direct": (stage.upstream, "")}
    targets |= {name: (target, "") for name, target in stage.peers().items()}
    for name, (target, path) in targets.items():
        line.figures[name] = _paced(target, path, streams=200, step=20, seconds=stage.seconds)
    passed_on = Line("streamed, paced, 200 at once, OpenAI API", "µs", 42, 9)
    passed_on.figures |= {name: line.figures[name] for name in line.figures if name != "proxy"}
    passed_on.figures["proxy"] = _paced(stage.proxy, "", streams=200, step=20, seconds=stage.seconds)
    return [line, passed_on]


def first_line(stage: Stage) -> list[Line]:
    """One client on an idle server. What the upstream itself takes is taken off: "direct" is that delay."""
    lines = [
        Line("added delay to the first line, idle, p50", "ms", 1.0),
        Line("added delay to the first line, idle, p99", "ms", 3.0),
    ]

    def delays(target: Target, path: str = "") -> tuple[float, float] | None:
        load = chat(target, "burst:5", path=path)
        count = min(int(stage.seconds * 200), 400)
        got = generate(Load(**load, pause=0.003, requests_each=count, seconds=stage.seconds * 2 + 5))
        if got.lost or not got.first:
            print(f"  cannot be measured: {got.problem}", file=sys.stderr)
            return None
        cuts = statistics.quantiles(got.first, n=100)
        return cuts[49] * 1000, cuts[98] * 1000

    direct = delays(stage.upstream)
    measured = {"proxy": delays(stage.proxy, "/api/chat")}
    measured |= {name: delays(target) for name, target in stage.peers().items()}
    for index, line in enumerate(lines):
        line.figures["direct"] = None if direct is None else Figure(direct[index])
        for name, pair in measured.items():
            added = None if pair is None or direct is None else pair[index] - direct[index]
            line.figures[name] = None if added is None else Figure(added, note="added")
    return lines


def streams(stage: Stage) -> list[Line]:
    """Many paced streams at once: are all of them complete, and what does each cost in memory?"""
    count, step, seconds = stage.streams, 50, max(stage.seconds * 2, 6.0)
    target = stage.proxy
    load = chat(target, f"paced:{int(seconds * 1000 / step)}:{step}", path="/api/chat")
    idle = target.server.pss_kb()
    before = target.server.cpu()
    generating = Generating(Load(**load, clients=count, requests_each=1, ramp=2, seconds=3, grace=seconds * 2 + 20))
    time.sleep(2 + (seconds - 2) / 2)  # after the last has begun, before the first ends
    used_kb = target.server.pss_kb()
    got: Measured = generating.result()
    cpu = target.server.cpu() - before
    note = f"{got.words / got.seconds:,.0f} events/s; server CPU {cpu / max(got.words, 1) * 1e6:.0f} µs an event"
    note += f"; {got.problem}" if got.problem else ""
    return [
        Line(f"{count} streams at 20 events/s: lost", "", 0, figures={"proxy": Figure(float(got.lost), note=note)}),
        Line(
            f"{count} streams: memory each, above idle",
            "kB",
            60,
            figures={"proxy": Figure((used_kb - idle) / count)},
            note=note,
        ),
        Line(
            f"{count} streams: memory in all (PSS)",
            "MB",
            170,
            figures={"proxy": Figure(used_kb / 1000, note=f"idle before: {idle / 1000:.0f} MB")},
        ),
    ]


def catalogue(stage: Stage) -> list[Line]:
    """The lists that clients ask for again and again; with all 421 models listed, that is outside free mode."""
    tags = Line("/api/tags with 421 models", "ms", 0.4)
    show = Line("/api/show", "ms", 0.3)
    with servers.proxy(stage.folder, stage.upstream, free_mode="false") as target:
        load = {"port": target.port, "path": "/api/tags"}
        tags.figures["proxy"] = _scaled(_cpu(target.server, load, per_word=False, seconds=stage.seconds), 1e-3)
        load = {"port": target.port, "path": "/api/show", "body": json.dumps({"model": "model-7"})}
        show.figures["proxy"] = _scaled(_cpu(target.server, load, per_word=False, seconds=stage.seconds), 1e-3)
    return [tags, show]


def agent_history(stage: Stage) -> list[Line]:
    """A long history against a short one: 400 messages, 128 kB, tool calls and their results among them."""
    line = Line("400-message agent history (128 kB), over a short one", "ms", 2.0)
    short = chat(stage.proxy, "burst:20", path="/api/chat", stream=False)
    messages = [*history.messages(), {"role": "user", "content": "bench:burst:20"}]
    long = chat(stage.proxy, "burst:20", path="/api/chat", stream=False, messages=messages, tools=history.tools())
    figures = [_cpu(stage.proxy.server, load, per_word=False, seconds=stage.seconds) for load in (short, long)]
    if figures[0] and figures[1]:
        added = (figures[1].value - figures[0].value) / 1000
        line.figures["proxy"] = Figure(added, note=f"{len(long['body']) / 1000:.0f} kB, {len(messages)} messages")
    return [line]


def start(stage: Stage) -> list[Line]:
    """From the command to the first answer, with the catalogue already in the database."""
    line = Line("start to the first answer, warm database", "s", 1.2)
    rounds = [_start(stage) for _ in range(ROUNDS)]
    line.figures["proxy"] = Figure(statistics.median(rounds), rounds)
    return [line]


def _start(stage: Stage) -> float:
    port = free_port()
    environ = {
        "OPENROUTER_API_KEY": "sk-or-bench",
        "OPENROUTER_BASE_URL": f"http://127.0.0.1:{stage.upstream.port}/api/v1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{stage.folder / 'proxy.db'}",
    }
    load = chat(Target(stage.proxy.server, port, "", stage.proxy.model), "burst:20", path="/api/chat", stream=False)
    began = time.monotonic()
    server = Server([sys.executable, "-m", "ollama_proxy"], folder=stage.folder, name="start", environ=environ)
    try:
        wait_for(lambda: _answers(load), server)
        return time.monotonic() - began
    finally:
        server.stop()


def _answers(load: dict[str, Any]) -> bool:
    """Asked from this process: starting another one would be measured, too."""
    try:
        return not Generator(Load(**load, requests_each=1, grace=2)).run().lost
    except OSError:
        return False


ROWS: dict[str, Callable[[Stage], list[Line]]] = {
    "request": request,
    "burst": burst,
    "burst-openai": burst_openai,
    "paced": paced,
    "first-line": first_line,
    "streams": streams,
    "catalogue": catalogue,
    "history": agent_history,
    "start": start,
}
