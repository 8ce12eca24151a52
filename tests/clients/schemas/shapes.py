"""What several clients demand alike."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def _time(text: str) -> str:
    if _RFC3339.fullmatch(text) is None:
        raise ValueError("not an RFC 3339 time with a zone")
    datetime.fromisoformat(text[:19])
    return text


#: A point in time with a zone; none of the strict clients takes another form.
Time = Annotated[str, AfterValidator(_time)]
Unsigned = Annotated[int, Field(ge=0)]


class Open(BaseModel):
    """An object of which unknown members are ignored; a member must have its type, and null is none."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class Closed(BaseModel):
    """An object in which an unknown member is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())


class Fault(Open):
    """`{"error": "text"}`, the only form of an error that all of them can show."""

    error: str


def architecture_value(show: dict[str, Any], name: str) -> Any:
    """`model_info["<general.architecture>.<name>"]`."""
    info = show["model_info"]
    return info[f"{info['general.architecture']}.{name}"]


def has_nulls(value: Any) -> bool:
    """Whether there is a null anywhere but in a tool call's arguments."""
    if isinstance(value, dict):
        return any(name != "arguments" and has_nulls(part) for name, part in value.items())
    if isinstance(value, list):
        return any(map(has_nulls, value))
    return value is None
