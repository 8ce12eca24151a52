"""marshmallow fields with Go's strictness, and its texts for what they refuse.

marshmallow's own fields coerce (`"5"`, 5.7, `"yes"`). These refuse at once with a BadRequest: Go reports one error per
body, so nothing is collected. They know value types, not what a request means (docs/contract.md, "Requests").
"""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from ollama_proxy import limits
from ollama_proxy.gojson.text import wrong_type


class GoField(fields.Field[Any]):
    """A value of exactly one JSON type. The schema names the Go struct, the JSON name is the path."""

    python_type: type = object
    go_type = "interface {}"

    def path(self, name: str | None) -> str:
        """`ChatRequest.model`."""
        return f"{getattr(self.parent, 'struct', '')}.{name}"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is not self.python_type:
            raise wrong_type(value, self.path(attr), self.go_type)
        return value


class Text(GoField):
    python_type = str
    go_type = "string"


class Name(Text):
    """A model's name: what is longer than any name is refused before it is looked at."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        limits.check_name(name := super()._deserialize(value, attr, data, **kwargs))
        return name


class Flag(GoField):
    python_type = bool
    go_type = "bool"


class Integer(GoField):
    python_type = int
    go_type = "int"


class Options(GoField):
    """An object of options; the types inside are checked later, when the model is known to exist."""

    python_type = dict
    go_type = "map[string]interface {}"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        options = super()._deserialize(value, attr, data, **kwargs)
        limits.check_count(len(options), limits.OPTIONS, "options")
        return options


class Integers(GoField):
    go_type = "[]int"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[int]:
        if not isinstance(value, list):
            raise wrong_type(value, self.path(attr), self.go_type)
        for item in value:
            if type(item) is not int:
                raise wrong_type(item, self.path(attr), "int")
        return value


class Anything(GoField):
    """A value whose type is looked at later (`format`, `input`, `tool_choice`)."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return value
