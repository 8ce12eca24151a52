"""ops.metrics.shared_values: quick counts arrive where the library's own would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers import ROOT

#: Counts with the library's values and with ours, and prints what another process would read.
COUNT = """
import json, sys
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from ollama_proxy.ops.metrics.shared_values import use_quick_values
if sys.argv[1] == "quick":
    assert use_quick_values() and use_quick_values()
counter = Counter("c", "A text.", ["label"], registry=None)
histogram = Histogram("h", "A text.", buckets=(1, 2), registry=None)
gauge = Gauge("g", "A text.", multiprocess_mode="livesum", registry=None)
for number in range(2000):  # far more than the file has room for at first
    counter.labels(str(number)).inc(number / 2)
for value in (0.5, 1.5, 1.5, 9):
    histogram.observe(value)
gauge.inc(); gauge.inc(); gauge.dec(); gauge.set(7); gauge.inc()
registry = CollectorRegistry()
MultiProcessCollector(registry)
samples = {f"{s.name} {sorted(s.labels.items())}": s.value for m in registry.collect() for s in m.samples}
print(json.dumps(samples))
"""


def counted(how: str, folder: Path) -> dict[str, float]:
    folder.mkdir()
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COUNT, how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_quick_counts_are_the_librarys(tmp_path: Path) -> None:
    quick = counted("quick", tmp_path / "quick")
    assert quick == counted("library", tmp_path / "library")
    assert quick["c_total [('label', '1999')]"] == 999.5
    assert quick["h_bucket [('le', '2.0')]"] == 3
    assert quick["g []"] == 8


#: A version of the library that keeps its values otherwise, and a process that does not share them.
OTHER = """
import sys
from prometheus_client import values
from ollama_proxy.ops.metrics import shared_values
if sys.argv[1] == "another":
    values.MultiProcessValue = lambda: object
before = values.ValueClass
assert shared_values.use_quick_values() is False
assert values.ValueClass is before
"""


def test_where_the_library_is_another_one_or_does_not_share_nothing_changes(tmp_path: Path) -> None:
    for how, variables in (("another", {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}), ("alone", {})):
        given = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
        done = subprocess.run(
            [sys.executable, "-c", OTHER, how],
            env={**given, **variables, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (how, done.stderr)
    assert not list(tmp_path.iterdir())
