"""Reading an upstream error, whatever it is wrapped in.

OpenRouter's own shape is `{"error": {"code", "message", "metadata"}}`, but errors also come as a chunk of a stream, on
a choice, as validation errors without a code, behind white space, cut short, as SSE text or as a web page
(docs/contract.md, "Failures"). This module finds the parts and judges nothing; it never raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_READ_LIMIT = 262_144
_TEXT_LIMIT = 4_000
_UPSTREAM_FROM = re.compile(r"\bupstream error from ([^:\n]{1,40}):", re.I)
_NO_ENDPOINT = re.compile(
    r"(?:not found|method not allowed|not implemented)$|(?:invalid|unknown|unsupported) (?:url|path|route|method)\b"
    r"|cannot (?:post|get) /|(?:url|path|route|page|resource) (?:was |could )?not (?:be )?found|404 page not found"
)
_SALVAGED_TEXT = ("message", "provider_name", "limit_source", "failed_routing_step", "error_type", "raw", "code")
_SALVAGED_HEADERS = ("X-RateLimit-Reset", "X-RateLimit-Limit", "Retry-After")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The parts of an upstream error; what is missing is empty or None.

    `code` is the logical HTTP status (400 to 599). `labels` are the machine-readable names it was given, in lower case,
    without a trailing "_error": `error_type`, `type`, a `code` that is a word. `availability` is the documented
    `error.availability` object. `provider_text` is the provider's own message, found inside `metadata.raw`; `raw` is
    all of that field, or the text of a web page, and must only be matched against, never shown. `private` are strings
    that no text may repeat.
    """

    code: int | None = None
    labels: tuple[str, ...] = ()
    message: str = ""
    provider: str = ""
    provider_text: str = ""
    raw: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    availability: Mapping[str, Any] = field(default_factory=dict)
    native_finish_reason: str = ""
    private: tuple[str, ...] = ()

    @property
    def limit_source(self) -> str:
        return text_of(self.metadata.get("limit_source")).lower()

    @property
    def routing_step(self) -> str:
        return text_of(self.metadata.get("failed_routing_step")).lower()

    @property
    def availability_code(self) -> str:
        return text_of(self.availability.get("code")).lower()

    @property
    def names_no_endpoint(self) -> bool:
        """No word about the request: a web page, an empty body, or what servers say of an address they do not know."""
        said = self.message.strip().lower().rstrip(".")
        return bool(_NO_ENDPOINT.match(said)) or not (said or self.labels or self.code or self.metadata)

    @property
    def words(self) -> str:
        """Everything that was said, in lower case, for matching."""
        return f"{self.message} {self.raw}".lower()


def text_of(value: object) -> str:
    """`value` if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def read_error_body(body: bytes | Mapping[str, Any] | None) -> ErrorBody:
    """The error in `body`: a parsed object or chunk, or the bytes of an answer."""
    text = "" if not body or isinstance(body, Mapping) else body[:_READ_LIMIT].decode("utf-8", "replace").lstrip()
    payload = body if isinstance(body, Mapping) else parse_lenient(text)
    if isinstance(payload, list):
        payload = next((item for item in payload if isinstance(item, Mapping)), None)
    if not isinstance(payload, Mapping):
        return ErrorBody(raw=text[:_TEXT_LIMIT] if text.startswith("<") else "")
    error, envelope = _error_object(payload), payload
    metadata = _mapping(error.get("metadata"))
    message = _message(error)
    raw = _as_text(metadata.get("raw"))
    upstream_from = _UPSTREAM_FROM.search(message)
    # `provider_name: null` is OpenRouter itself, though the chunk around it may name who would have answered.
    provider = text_of(metadata.get("provider_name", envelope.get("provider")))
    return ErrorBody(
        code=_logical_status(error.get("code")) or _logical_status(error.get("status")),
        labels=_labels(error, metadata, envelope),
        message=message,
        provider=provider or (upstream_from.group(1).strip() if upstream_from else ""),
        provider_text=_provider_text(metadata.get("raw")),
        raw=raw,
        metadata=metadata,
        availability=_availability(error, metadata),
        native_finish_reason=text_of(_first_choice(envelope).get("native_finish_reason")),
        private=_private(envelope, metadata),
    )


def parse_lenient(text: str) -> object:
    """JSON from `text`: padded, behind `data:` lines, or cut short (then its known fields); None without any."""
    text = text.lstrip("\ufeff \t\r\n\0")
    if text[:1] in "{[":
        parsed = _loads(text)
        return parsed if parsed is not None else _salvaged(text)
    parsed = None
    for line in text.splitlines():
        if not line.startswith("data:"):
            continue
        payload = line.removeprefix("data:").strip()
        event = _loads(payload) or _salvaged(payload)
        if isinstance(event, Mapping):
            parsed = event
            if _error_object(event):
                break
    return parsed


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _salvaged(text: str) -> object:
    """The known fields of a JSON text that does not parse, as an error object; None if it names none of them."""
    found: dict[str, str] = {}
    for key in (*_SALVAGED_TEXT, *_SALVAGED_HEADERS):
        match = re.search(rf'"{key}"\s*:\s*(?:"((?:[^"\\]|\\.)*)|(-?\d{{1,18}}))', text, re.I)
        if match:
            escaped = match.group(1)
            found[key] = match.group(2) or text_of(_loads(f'"{escaped}"')) or text_of(escaped)
    if not found:
        return None
    headers = {key: found.pop(key) for key in _SALVAGED_HEADERS if key in found}
    error = {key: found.pop(key) for key in ("code", "message") if key in found}
    return {"error": {**error, "metadata": {**found, "headers": headers}}}


def _error_object(payload: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The object that holds code and message: at the top, on a choice, inside a failed response, or flat."""
    places = (payload.get("error"), _first_choice(payload).get("error"), _mapping(payload.get("response")).get("error"))
    for error in places:
        if isinstance(error, Mapping):
            return error
        if isinstance(error, str) and error:
            return {"message": error, "code": payload.get("code"), "metadata": payload.get("metadata")}
    if "choices" not in payload and any(key in payload for key in ("message", "detail", "errors", "Message")):
        return payload
    return {}


def _first_choice(payload: Mapping[Any, Any]) -> Mapping[Any, Any]:
    choices = payload.get("choices")
    return _mapping(choices[0]) if isinstance(choices, list) and choices else {}


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _message(error: Mapping[Any, Any]) -> str:
    for key in ("message", "Message", "detail", "errors"):
        message = _as_text(error.get(key))
        if message:
            return _validation_text(message) if message.lstrip().startswith("[") else message
    return ""


def _validation_text(message: str) -> str:
    """The first complaint in a list of validation errors ("Invalid input: ... (at input)"), else the text itself."""
    issues = _loads(message)
    issue = _mapping(issues[0]) if isinstance(issues, list) and issues else {}
    said = text_of(issue.get("message")) or text_of(issue.get("msg"))
    if not said:
        return message
    path = issue.get("path") or issue.get("loc")
    where = ".".join(str(part) for part in path if isinstance(part, str | int)) if isinstance(path, list) else ""
    return f"{said} (at {where})" if where else said


def _as_text(value: object) -> str:
    if isinstance(value, Mapping | list):
        try:
            value = json.dumps(value, default=str, ensure_ascii=False) if value else ""
        except (ValueError, TypeError, RecursionError):
            return ""
    return text_of(value)[:_TEXT_LIMIT]


def _logical_status(code: object) -> int | None:
    if isinstance(code, str) and code.strip().isdecimal() and len(code) < 9:
        code = int(code)
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def _labels(error: Mapping[Any, Any], metadata: Mapping[Any, Any], envelope: Mapping[Any, Any]) -> tuple[str, ...]:
    candidates = (metadata.get("error_type"), error.get("error_type"), envelope.get("error_type"), error.get("code"))
    words = [text_of(word).strip().lower() for word in (*candidates, error.get("type"), error.get("status"))]
    return tuple(word.removesuffix("_error") for word in words if word and not word.isdecimal())


def _availability(error: Mapping[Any, Any], metadata: Mapping[Any, Any]) -> Mapping[str, Any]:
    found = error.get("availability") or metadata.get("availability")
    return {"code": found} if isinstance(found, str) else _mapping(found)


def _provider_text(raw: object) -> str:
    """The provider's message in `metadata.raw`, if that is JSON: free text there may be anything and is not taken."""
    for _ in range(2):
        payload = parse_lenient(raw) if isinstance(raw, str) else raw
        if isinstance(payload, list) and payload:
            payload = payload[0]
        error = _error_object(_mapping(payload))
        inner = _mapping(error.get("metadata")).get("raw")
        if not inner:
            return _message(error)
        raw = inner
    return ""


def _private(envelope: Mapping[Any, Any], metadata: Mapping[Any, Any]) -> tuple[str, ...]:
    patterns = metadata.get("patterns")
    listed = patterns if isinstance(patterns, list) else [patterns]
    values = (envelope.get("user_id"), metadata.get("flagged_input"), *listed)
    return tuple(text for value in values if (text := text_of(value).strip()))
