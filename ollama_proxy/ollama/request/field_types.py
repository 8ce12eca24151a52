"""marshmallow fields that only the Ollama API has; the common ones are in `gojson.go_fields`."""

from __future__ import annotations

from typing import Any

from ollama_proxy.gojson.go_fields import GoField
from ollama_proxy.ollama.request.keep_alive import read_keep_alive
from ollama_proxy.ollama.request.messages import Message, read_images, read_messages
from ollama_proxy.ollama.request.thinking import read_think
from ollama_proxy.ollama.request.tools import read_tools


class KeepAlive(GoField):
    """`keep_alive` in seconds, see `read_keep_alive`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        return read_keep_alive(value)


class Think(GoField):
    """`think` as a boolean or a level, see `read_think`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool | str:
        return read_think(value)


class Messages(GoField):
    """The messages of a chat, see `read_messages`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Message]:
        return read_messages(value)


class Tools(GoField):
    """The `function` objects of tools, see `read_tools`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return read_tools(value)


class Images(GoField):
    """Images in base64 or as URLs, see `read_images`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        return read_images(value, self.path(attr))
