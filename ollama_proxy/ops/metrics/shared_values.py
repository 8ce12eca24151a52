"""Counts in prometheus-client's shared files without what only other servers need.

At each count the library's value takes a lock, asks for the process's id, and looks its place up twice: 0.7 µs, a dozen
times a request. Under gunicorn's gevent workers one thread counts, and no application is loaded before the fork: 0.2 µs
are enough. The files are the library's own, and its collector reads them.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_pack = struct.Struct("d").pack


class QuickValue:
    """Stands before the library's class of shared values, and counts in its place."""

    _file: Any
    _key: str
    _value: float

    def inc(self, amount: float) -> None:
        """Add `amount`. The file may have grown since the last time, so its memory is asked for each time."""
        self._value += amount
        file = self._file
        place = file._positions[self._key]
        file._m[place : place + 8] = _pack(self._value)


def use_quick_values() -> bool:
    """Let counters that are made from now on count quickly. For a process in which one thread counts.

    Returns False, and changes nothing, where the library does not share its values, or not as this module knows it.
    """
    library = values.ValueClass
    if not getattr(library, "_multiprocess", False):
        return False
    if issubclass(library, QuickValue):
        return True
    if not _works():
        return False
    values.ValueClass = _quick(library)
    return True


def _quick(library: Any) -> Any:
    return type("QuickSharedValue", (QuickValue, library), {})


def _works() -> bool:
    """Return True if a count arrives in a file of the library's, tried in a folder that is gone afterwards."""
    named = os.environ[FOLDER_VARIABLE]
    with TemporaryDirectory(prefix="ollama-proxy-counts-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            library = values.MultiProcessValue()  # type: ignore[no-untyped-call]
            value = _quick(library)("counter", "a", "a_total", (), (), "a")
            for _ in range(2):
                value.inc(1.5)
            library.close_all_files()
            [file] = Path(folder).glob("*.db")
            [(_, counted, *_)] = MmapedDict.read_all_values_from_file(file)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001 - whatever another version of the library makes of it
            return False
        finally:
            os.environ[FOLDER_VARIABLE] = named
    return bool(counted == 3.0)
