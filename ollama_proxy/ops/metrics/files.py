"""The folder of prometheus-client's files: what workers that have ended counted is kept in one file of each kind.

The library leaves their files there for good, and reads all of them for each page: after a hundred reloads that would
take half a second in which a worker serves nobody. Adding a file to another and removing it are two steps, so nobody
reads in between: a count seen twice would be taken for a restart of the counter.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

_KINDS = ("counter", "histogram")
#: In place of a process's id: no worker has it.
_ENDED = 0


def read_counts(folder: str) -> list[Metric]:
    """Return what all workers have counted, those that have ended too."""
    with _locked(Path(folder), fcntl.LOCK_SH):
        return list(MultiProcessCollector(None, folder).collect())  # type: ignore[no-untyped-call]


def keep_counts_of_ended(folder: str, pid: int) -> None:
    """Add what the ended worker `pid` counted to what others have, and remove its files.

    Raises OSError if the folder cannot be written. What cannot be read is lost: a worker that is killed while it writes
    can leave such a file, and with it no page could be made any more.
    """
    with _locked(Path(folder), fcntl.LOCK_EX):
        for kind in _KINDS:
            ended = Path(folder) / f"{kind}_{pid}.db"
            if ended.exists():
                _add(ended, Path(folder) / f"{kind}_{_ENDED}.db")
                ended.unlink()


def _add(ended: Path, total: Path) -> None:
    try:
        counted = list(MmapedDict.read_all_values_from_file(str(ended)))  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 - the library raises whatever its reading meets
        return
    sums = MmapedDict(str(total))  # type: ignore[no-untyped-call]
    try:
        for key, value, *_ in counted:
            before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]
            sums.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]
    finally:
        sums.close()  # type: ignore[no-untyped-call]


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
