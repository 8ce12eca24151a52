"""ops.metrics.processes: sums over a server's processes, under the names that dashboards know."""

from __future__ import annotations

import os
import subprocess
import sys

from ollama_proxy.ops.metrics.processes import ended_children_seconds, processes, server_pids


def test_without_gunicorn_it_is_this_process_alone() -> None:
    assert server_pids() == [os.getpid()]
    found = {sample.name: sample.value for metric in processes() for sample in metric.samples}
    assert found["ollama_proxy_workers"] == 1
    assert found["process_resident_memory_bytes"] > 10_000_000
    assert found["process_open_fds"] > 2
    assert {"process_cpu_seconds_total", "process_start_time_seconds", "process_max_fds"} <= found.keys()


def test_the_time_of_a_child_that_has_ended_is_not_lost() -> None:
    before = ended_children_seconds(os.getpid())
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", busy], check=True, timeout=60)
    assert ended_children_seconds(os.getpid()) >= before + 0.15


def test_a_process_that_is_gone_has_no_times() -> None:
    assert ended_children_seconds(2**22 + 1) == 0.0
