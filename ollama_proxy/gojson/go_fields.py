"""marshmallow fields that are as strict as Go, with Go's error texts.

marshmallow's own fields convert values (`"5"`, 5.7, `"yes"`). These refuse at once with a BadRequest: Go reports one
error per body, so errors are not collected. They know value types, not what a request means (docs/contract.md,
"Requests").
"""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from ollama_proxy import limits
from ollama_proxy.gojson.text import wrong_type


class GoField(fields.Field[Any]):
    """A value of exactly one JSON type. For the error text the schema gives the Go struct, the JSON name the path."""

    python_type: type = object
    go_type = "interface {}"

    def path(self, name: str | None) -> str:
        """Return the path of the field as an error names it, such as `ChatRequest.model`."""
        return f"{getattr(self.parent, 'struct', '')}.{name}"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is not self.python_type:
            raise wrong_type(value, self.path(attr), self.go_type)
        return value


class Text(GoField):
    """A string."""

    python_type = str
    go_type = "string"


class Name(Text):
    """A model's name: what is longer than any name is refused before it is looked at."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        limits.check_name(name := super()._deserialize(value, attr, data, **kwargs))
        return name


class Flag(GoField):
    """A boolean."""

    python_type = bool
    go_type = "bool"


class Integer(GoField):
    """An integer."""

    python_type = int
    go_type = "int"


class Options(GoField):
    """An object of options. The types inside are checked later, when it is known that the model exists."""

    python_type = dict
    go_type = "map[string]interface {}"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        options = super()._deserialize(value, attr, data, **kwargs)
        limits.check_count(len(options), limits.OPTIONS, "options")
        return options


class Integers(GoField):
    """A list of integers."""

    go_type = "[]int"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[int]:
        if not isinstance(value, list):
            raise wrong_type(value, self.path(attr), self.go_type)
        for item in value:
            if type(item) is not int:
                raise wrong_type(item, self.path(attr), "int")
        return value


class Anything(GoField):
    """A value whose type is checked later (`format`, `input`, `tool_choice`)."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return value
