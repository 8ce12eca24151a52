"""CPU, memory and descriptors of the whole server under the names that dashboards expect (`process_*`).

prometheus-client's own collector knows one process, and shared counters lose it altogether. Here gunicorn's master and
its workers are added up. Memory is the sum of resident sets: what workers share is counted in each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

_CPU = "process_cpu_seconds"
_START = "process_start_time_seconds"
#: Fields of /proc/PID/stat behind the name (proc(5)): the time of children that have ended, in clock ticks.
_ENDED_CHILDREN = slice(13, 15)


def processes() -> Iterator[Metric]:
    """Yield `process_*`, summed over the server's processes; the start is that of the oldest. Nothing without /proc."""
    found: dict[str, Metric] = {}
    pids = server_pids()
    for pid in pids:
        for metric in ProcessCollector(registry=None, pid=lambda pid=pid: pid).collect():  # type: ignore[misc]
            [sample] = metric.samples
            if (sum_of := found.get(metric.name)) is None:
                found[metric.name] = metric
            else:
                pick = min if metric.name == _START else lambda *values: float(sum(values))
                value = pick(sum_of.samples[0].value, sample.value)
                sum_of.samples[0] = sample._replace(value=value)
    if (cpu := found.get(_CPU)) is not None:
        # Without it the sum would fall when a worker ends, which Prometheus takes for a restart of the counter.
        [sample] = cpu.samples
        cpu.samples[0] = sample._replace(value=sample.value + ended_children_seconds(pids[0]))
    yield from found.values()
    yield GaugeMetricFamily("ollama_proxy_workers", "Worker processes that run.", max(len(pids) - 1, 1))


def server_pids() -> list[int]:
    """Return the ids of gunicorn's master and its workers, the master first; without gunicorn only this process's."""
    own = os.getpid()
    if "gunicorn.arbiter" not in sys.modules:
        return [own]
    master = os.getppid()
    try:
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    except OSError:
        children = [path.name for path in Path("/proc").glob("[0-9]*") if _parent(path) == master]
    return [master, *map(int, children)] if str(own) in children else [own]


def ended_children_seconds(pid: int) -> float:
    """Return the CPU seconds of the children of `pid` that have ended; 0 if it cannot be known."""
    with suppress(OSError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[_ENDED_CHILDREN])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _parent(process: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    return 0
