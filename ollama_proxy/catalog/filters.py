"""The two filter files: what they say and which models they allow.

`models-filter.txt` (or the file that MODELS_FILTER names) lists whole names, `models-filter/filter` parts of names; a
model must pass both (docs/contract.md, "Catalogue"). This module knows names as text only, no records. A Filters is
what the files say at one time; FilterFiles watches them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ollama_proxy.catalog.glob import Globs
from ollama_proxy.catalog.names import DEFAULT_TAG, FREE_TAG, tagged, variant

NAMES_FILE = "models-filter.txt"
PARTS_FILE = "models-filter/filter"

#: (listed name, id) -> True if the model may be listed and asked for.
Allows = Callable[[str, str], bool]


class FilterError(ValueError):
    """A filter file cannot be read at the start. The text is one line that names the file."""


@dataclass(frozen=True, slots=True)
class FilterLine:
    """One line of a filter file: `text` as written, `pattern` in lower case without the `!`."""

    text: str
    pattern: str
    excludes: bool

    def patterns(self, *, whole: bool, free_mode: bool) -> list[str]:
        """Return the patterns (`glob.py`) of which one must match a whole tagged name in lower case.

        A whole name without a tag means `:latest`, in free mode also `:free`; a `*` stands for any run of characters, a
        tag included.
        """
        if not whole:
            return [f"*{self.pattern}*"]
        forms = [self.pattern]
        if not variant(self.pattern):
            forms.append(f"{self.pattern}:{DEFAULT_TAG}")
            if free_mode:
                forms.append(f"{self.pattern}:{FREE_TAG}")
        return forms


@dataclass(frozen=True, slots=True)
class Filters:
    """What both files say: `names` are the lines of whole names, `parts` the lines of parts of names."""

    names: tuple[FilterLine, ...] = ()
    parts: tuple[FilterLine, ...] = ()

    def predicate(self, *, free_mode: bool) -> Allows:
        """Return a function that says whether a model passes both files. It is fast, as a refresh calls it for each
        model.
        """
        files = [_compile(self.names, whole=True, free_mode=free_mode), _compile(self.parts, whole=False)]

        def allows(name: str, model_id: str) -> bool:
            texts = (name.lower(), tagged(model_id).lower())
            return all(
                (wanted is None or wanted.match(texts)) and (unwanted is None or not unwanted.match(texts))
                for wanted, unwanted in files
            )

        return allows

    def unmatched(self, models: Iterable[tuple[str, str]], *, free_mode: bool) -> list[str]:
        """Return the lines, as written, that match no model of the catalogue: most likely typing errors.

        `models` are (listed name, id) pairs of the whole catalogue, before any filter.
        """
        texts = [text for name, model_id in models for text in (name.lower(), tagged(model_id).lower())]
        missed: list[str] = []
        for lines, whole in ((self.names, True), (self.parts, False)):
            found = [Globs(line.patterns(whole=whole, free_mode=free_mode)).match(texts) for line in lines]
            missed += [line.text for line, is_found in zip(lines, found, strict=True) if not is_found]
        return missed

    @staticmethod
    def load(
        models_filter: str | None, directory: Path, *, on_warning: Callable[[str], None] | None = None
    ) -> FilterFiles:
        """Read the filter files of a working directory for the first time.

        `models_filter` is the MODELS_FILTER setting; it replaces `models-filter.txt`, not the file of parts. Raises
        FilterError if a named file is missing, and if a file is there but cannot be read.
        """
        return FilterFiles(models_filter, directory, on_warning=on_warning)


def parse_lines(text: str) -> tuple[FilterLine, ...]:
    """Return the lines without comments (`#` to the line's end) and blank lines; `!` marks a line that excludes."""
    lines = []
    for written in text.splitlines():
        content = written.partition("#")[0].strip()
        pattern = content.removeprefix("!").strip().lower()
        if pattern:
            lines.append(FilterLine(content, pattern, content.startswith("!")))
    return tuple(lines)


def _compile(
    lines: tuple[FilterLine, ...], *, whole: bool, free_mode: bool = False
) -> tuple[Globs | None, Globs | None]:
    """Return what must match (None: anything does) and what must not match (None: nothing is excluded)."""

    def union(*, excludes: bool) -> Globs | None:
        chosen = [line.patterns(whole=whole, free_mode=free_mode) for line in lines if line.excludes is excludes]
        return Globs(pattern for patterns in chosen for pattern in patterns) if chosen else None

    return union(excludes=False), union(excludes=True)


class FilterFiles:
    """Both filter files of a working directory, read again when they change."""

    def __init__(
        self, models_filter: str | None, directory: Path, *, on_warning: Callable[[str], None] | None = None
    ) -> None:
        named = directory / Path(models_filter).expanduser() if models_filter else None
        warn = on_warning or (lambda _text: None)
        self._names = _WatchedFile(named or directory / NAMES_FILE, named=named is not None, on_warning=warn)
        self._parts = _WatchedFile(directory / PARTS_FILE, named=False, on_warning=warn)
        self._current = Filters(self._names.lines, self._parts.lines)

    def current(self) -> Filters:
        """Return what the files say now; the same object as before if they have not changed. Costs two `stat` calls."""
        changed = [self._names.reread(), self._parts.reread()]
        if any(changed):
            self._current = Filters(self._names.lines, self._parts.lines)
        return self._current


class _WatchedFile:
    """One filter file and its last good state."""

    def __init__(self, path: Path, *, named: bool, on_warning: Callable[[str], None]) -> None:
        self._path = path
        self._named = named
        self._warn = on_warning
        self._warned = False
        self._stamp: tuple[int, ...] | None = None
        self.lines: tuple[FilterLine, ...] = ()
        try:
            self._read()
        except OSError as error:
            if named or not _is_absent(error):
                raise FilterError(f"the filter file {path} cannot be read: {error.strerror}") from None

    def reread(self) -> bool:
        """Read the file again if it changed. Returns True if it now says something else.

        If a default file is deleted, there is no filter any more. If a named file is deleted, or any file cannot be
        read, its last state stays in force, with one warning.
        """
        before = self.lines
        try:
            self._read()
            self._warned = False
        except OSError as error:
            if _is_absent(error) and not self._named:
                self._stamp, self.lines = None, ()
            elif not self._warned:
                self._warned, self._stamp = True, None
                self._warn(f"the filter file {self._path} cannot be read ({error.strerror}): what it said before holds")
        return self.lines != before

    def _read(self) -> None:
        status = os.stat(self._path)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            self.lines = parse_lines(_decode(self._path.read_bytes()))
            self._stamp = stamp


def _is_absent(error: OSError) -> bool:
    # If `models-filter` is a plain file, `models-filter/filter` cannot exist: that counts as absent, too.
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def _decode(data: bytes) -> str:
    # Windows' shells and editors write byte-order marks, and UTF-16. Bytes that cannot be decoded harm only their line.
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return data.decode(encoding, errors="replace")
