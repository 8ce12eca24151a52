"""Reading the deltas of a stream without parsing them: they differ in one string, and all else repeats byte by byte.

Pure: payloads in, the bytes of a JSON string out, or whether all are JSON. It knows nothing of what a string means.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

_KEY = b'"content":'
_CONTENT = b'"content":"'

#: What may stand in a string as it is, in JSON and on a line: printable ASCII but the quote and the backslash.
_PLAIN = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))
_EMPTY = b'""'

#: Longer strings are not worth it, and have limits of their own.
_LONGEST = 1024


class RepeatedDelta:
    """Learns from one parsed payload what the next ones look like, and finds their text.

    Why that is safe: outside strings JSON cannot hold `"content":` but as a key, since a quote inside a string is
    escaped. If it is there once, the value behind it is the delta's content. Another payload with the same bytes before
    and after it, and with one plain string in between, parses to the same but for that string.
    """

    def __init__(self) -> None:
        self._before = self._after = b"\n"  # which no payload of one line holds
        self._start = self._stop = 0

    def learn(self, payload: bytes, content: str) -> None:
        """`payload` was parsed: its delta has `content` and nothing else that anybody reads."""
        before, key, after = payload.partition(_KEY)
        literal = orjson.dumps(content) if content.isascii() else b"\n"
        if key and _KEY not in after and after.startswith(literal):
            self._before, self._after = before + key, after[len(literal) :]
            self._start, self._stop = len(self._before), -len(self._after)

    def content_of(self, payload: bytes) -> bytes | None:
        """The content of a payload like the one learned, as a JSON string; None if it must be parsed."""
        if payload.startswith(self._before) and payload.endswith(self._after):
            literal = payload[self._start : self._stop]
            # What is left of a plain string are its two quotes. An empty one says nothing: let it be looked at.
            if (
                literal.translate(None, _PLAIN) == _EMPTY
                and literal[0] == literal[-1] == 34
                and 2 < len(literal) < _LONGEST
            ):
                return literal
        return None


def are_alike_and_sound(payloads: Sequence[bytes], block: bytes, between: bytes) -> bool:
    """Tells whether all payloads are JSON objects in UTF-8, for the usual burst of deltas that differ in their content.

    `block` is the payloads, none of which holds a line feed, with `between`, which does, between each two. False means:
    not known, look at each by itself. Why it is right: the first is parsed; the others have the same bytes before and
    after the string behind its first `"content":"`, and all these strings are parsed as one list. First a quote or a
    backslash that would end a string elsewhere is looked for. It costs a fifth of parsing all.
    """
    first = payloads[0]
    before, key, rest = first.partition(_CONTENT)
    head, after = before + key, rest[rest.find(b'"') :]
    if not (key and after and block.startswith(head) and block.endswith(after)):
        return False
    start, stop = len(head), -len(after)
    texts = [payload[start:stop] for payload in payloads]
    if b"".join((after, between, head)).join(texts) != block[start:stop]:
        return False
    # Without the escaped backslashes and quotes no quote may be left, and no backslash before the end of a string.
    left = b"\n".join(texts).replace(b"\\\\", b"").replace(b'\\"', b"")
    if b'"' in left or b"\\\n" in left or left.endswith(b"\\"):
        return False
    try:
        orjson.loads(b'["%b"]' % b'","'.join(texts))
        return isinstance(orjson.loads(first), dict)
    except orjson.JSONDecodeError:
        return False
