"""Sets how often a server does what it does by the clock. Python runs this first where this folder is on its path.

Under valgrind a request takes fifty times as long, and what is done every second or two is done fifty times as often
for each request. `bench.instructions` names the numbers to set in BENCH_SECONDS, a JSON object of "module:NAME" and
seconds, and `python -m ollama_proxy` hands the variable on to gunicorn and its workers. What a tree does not have is
not set.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys

_SECONDS = json.loads(os.environ.get("BENCH_SECONDS", "{}"))


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module, and then sets its numbers."""

    def exec_module(self, module):
        super().exec_module(module)
        for name, seconds in _SECONDS.items():
            of, _, constant = name.partition(":")
            if of == module.__name__ and hasattr(module, constant):
                setattr(module, constant, seconds)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that have such numbers."""

    def find_spec(self, name, path, target=None):
        if not any(given.startswith(f"{name}:") for given in _SECONDS):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


sys.meta_path.insert(0, _Finder())
