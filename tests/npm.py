"""Packages of npm for tests, pinned in a package-lock.json."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SECONDS = 120


def installed(sources: Path, folder: Path) -> Path:
    """`folder` with the files of `sources` and the packages that they lock. Skips without node, npm or the registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    for source in sources.iterdir():
        shutil.copy(source, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        pytest.skip(f"npm ci failed: {done.stderr.strip()[-300:]}")
    return folder
