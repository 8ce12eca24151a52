"""The table on the terminal, the JSON file and the plot."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.rows import Figure, Line

RESULTS = Path(__file__).resolve().parent / "results"
_PEERS = ("direct", "nginx", "litellm")


def table(lines: list[Line]) -> str:
    """The table: the proxy's figures with their goals, the others' beside them, and how many times theirs ours is."""
    head = f"{'':<56}{'proxy':>10}{'goal':>10}{'':13}{''.join(f'{name:>18}' for name in _PEERS)}"
    rows = [head, "-" * len(head)]
    for line in lines:
        mine = line.figures.get("proxy")
        verdict = verdict_of(line)
        peers = "".join(f"{_beside(line.figures.get(name), mine):>18}" for name in _PEERS)
        goal = f"≤ {line.goal:g}"
        rows.append(f"{line.name:<52}{line.unit:>4}{_number(mine):>10}{goal:>10} {verdict:<12}{peers}".rstrip())
    notes = [f"  {line.name} [{server}]: {figure.note}" for line in lines for server, figure in _noted(line)]
    return "\n".join([*rows, "", *notes])


def verdict_of(line: Line) -> str:
    """Whether the goal is reached: as a figure, else as a ratio to nginx in the same run."""
    mine, nginx = line.figures.get("proxy"), line.figures.get("nginx")
    if mine is None:
        return ""
    if mine.value <= line.goal:
        return "ok"
    if nginx is not None and line.nginx_then and mine.value / nginx.value <= line.goal / line.nginx_then:
        return "ok by ratio"
    return "MISS"


def _noted(line: Line) -> list[tuple[str, Figure]]:
    return [(server, figure) for server, figure in line.figures.items() if figure is not None and figure.note]


def _number(figure: Figure | None) -> str:
    if figure is None:
        return "n/a"
    return f"{figure.value:.0f}" if figure.value >= 100 or figure.value == 0 else f"{figure.value:.3g}"


def _beside(peer: Figure | None, mine: Figure | None) -> str:
    if peer is None:
        return "-"
    ratio = f" (x{mine.value / peer.value:.2g})" if mine is not None and peer.value > 0 else ""
    return _number(peer) + ratio


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    cores = sum(line.startswith("processor") for line in Path("/proc/cpuinfo").read_text().splitlines())
    load = Path("/proc/loadavg").read_text().split()[0]
    return {"cpu": model, "cores": cores, "python": platform.python_version(), "load_average_before": float(load)}


def save(lines: list[Line], before: dict[str, Any], folder: Path = RESULTS) -> list[Path]:
    """Write the JSON file and, where matplotlib is installed, the plot. Returns what was written."""
    folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    data = folder / f"{stamp}.json"
    data.write_text(json.dumps({"machine": before, "lines": [asdict(line) for line in lines]}, indent=1))
    try:
        picture = _plot(lines, folder / f"{stamp}.png")
    except ImportError:
        return [data]
    return [data, picture]


def _plot(lines: list[Line], path: Path) -> Path:
    """Each figure as a multiple of its goal: what is left of the line at 1 is reached."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [line for line in lines if line.goal > 0]
    figure, axes = pyplot.subplots(figsize=(10, 1.2 + 0.6 * len(shown)))
    colours = {"proxy": "tab:blue", "nginx": "tab:green", "litellm": "tab:red"}
    for index, (name, colour) in enumerate(colours.items()):
        points = [
            (position + (index - 1) * 0.27, measured.value / line.goal)
            for position, line in enumerate(shown)
            if (measured := line.figures.get(name)) is not None and measured.value > 0
        ]
        if points:
            axes.barh([y for y, _ in points], [x for _, x in points], height=0.25, color=colour, label=name)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [f"{line.name} (≤ {line.goal:g} {line.unit})" for line in shown])
    axes.invert_yaxis()
    axes.set_xlabel("times the goal; left of the line is better")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    return path
