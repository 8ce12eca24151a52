"""ops.metrics.files: what a worker counted outlives it, in one file, and is never seen twice."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from ollama_proxy.ops.metrics.files import keep_counts_of_ended, read_counts


def count(folder: Path, pid: int, value: float, label: str = "x") -> None:
    """Leave files of a worker that has counted `value`, and seen one request of 0.5 s."""
    counter = MmapedDict(str(folder / f"counter_{pid}.db"))
    counter.write_value(mmap_key("c", "c_total", ["l"], [label], "A text."), value, 0.0)
    counter.close()
    histogram = MmapedDict(str(folder / f"histogram_{pid}.db"))
    histogram.write_value(mmap_key("h", "h_sum", [], [], "A text."), 0.5, 0.0)
    histogram.write_value(mmap_key("h", "h_bucket", ["le"], ["1.0"], "A text."), 1, 0.0)
    histogram.close()


def samples(folder: Path) -> dict[str, float]:
    found = read_counts(str(folder))
    return {f"{one.name}{json.dumps(one.labels)}": one.value for metric in found for one in metric.samples}


def test_nothing_changes_for_who_reads(tmp_path: Path) -> None:
    for pid, value in ((7, 1.5), (8, 2), (9, 4)):
        count(tmp_path, pid, value)
    count(tmp_path, 10, 8, label="y")
    before = samples(tmp_path)
    assert before['c_total{"l": "x"}'] == 7.5
    assert before["h_count{}"] == 4
    for pid in (7, 9, 10):
        keep_counts_of_ended(str(tmp_path), pid)
    assert samples(tmp_path) == before
    assert {path.name for path in tmp_path.glob("*.db")} == {
        *("counter_0.db", "histogram_0.db", "counter_8.db", "histogram_8.db")
    }
    keep_counts_of_ended(str(tmp_path), 7)  # once more: there is nothing left of it
    assert samples(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"\x10", b"\xff" * 100, b"\x40\0\0\0" + b"\0" * 4 + b"\x10\0\0\0broken"])
def test_a_broken_file_ends_with_its_worker(tmp_path: Path, content: bytes) -> None:
    count(tmp_path, 7, 1)
    (tmp_path / "counter_8.db").write_bytes(content)
    keep_counts_of_ended(str(tmp_path), 8)
    assert not (tmp_path / "counter_8.db").exists()
    assert samples(tmp_path)['c_total{"l": "x"}'] == 1


def test_nobody_reads_a_count_twice_or_never(tmp_path: Path) -> None:
    for pid in range(1, 60):
        count(tmp_path, pid, 1)
    seen: set[object] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.add(samples(tmp_path)['c_total{"l": "x"}'])
            except Exception as error:
                seen.add(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    for pid in range(1, 60):
        keep_counts_of_ended(str(tmp_path), pid)
    done.set()
    reader.join(30)
    seen.add(samples(tmp_path)['c_total{"l": "x"}'])
    assert seen == {59}
