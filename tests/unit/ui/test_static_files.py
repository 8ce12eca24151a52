"""The files that pages load: their names, that they are what npm handed out, and that pages have no inline script."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest

from ollama_proxy.ui import static_files as module
from ollama_proxy.ui.rendering import render, static_url
from ollama_proxy.ui.static_files import static_files, static_name
from scripts.vendor import PACKAGES

FOLDER = Path(module.__file__).parent
VENDOR = FOLDER / "static" / "vendor"
TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))


def test_vendored_files_are_what_was_fetched() -> None:
    sums = dict(reversed(line.split()) for line in (VENDOR / "sums.txt").read_text().splitlines())
    files = {path.name: path for path in VENDOR.iterdir() if path.name != "sums.txt"}
    assert sums == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert files.keys() == {name for package in PACKAGES for name in package.files}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_each_package_comes_with_its_licence(package: object) -> None:
    [licence] = [name for name in package.files if "LICENSE" in name]  # type: ignore[attr-defined]
    assert (VENDOR / licence).stat().st_size > 300


def test_a_name_holds_the_hash_of_the_content() -> None:
    for name, one in static_files().items():
        assert name == one.name
        assert re.fullmatch(r"[a-z.]+\.[0-9a-f]{12}\.(css|js|svg)", name)
        assert hashlib.sha256(one.content).hexdigest().startswith(name.split(".")[-2])
        assert gzip.decompress(one.gzipped) == one.content
    assert static_url("page.css") == f"/ui/static/{static_name('page.css')}"
    with pytest.raises(KeyError):
        static_name("../routes.py")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_nothing_that_the_policy_forbids(path: Path) -> None:
    """No inline script or style, no handler in an attribute, no other host, nothing that escapes the escaping."""
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|\shx-on|javascript:", text)
    assert not re.search(r"\|\s*safe|autoescape", text)
    assert not re.search(r"(?:src|href|action)=\"https?:", text)


def test_what_a_name_holds_is_never_markup() -> None:
    text = render("error.html", title="<b>", message="<img src=x onerror=alert(1)>", status=404)
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
