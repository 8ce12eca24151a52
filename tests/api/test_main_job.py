"""The main job through real sockets: a chat from an Ollama client to OpenRouter and back."""

from __future__ import annotations

import json

from tests.servers import ProxyServer


def test_a_streamed_chat_ends_with_one_done_line(proxy: ProxyServer) -> None:
    lines = [json.loads(line) for line in proxy.chat(stream=True).iter_lines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    text = "".join(line["message"]["content"] for line in lines)
    assert text.endswith("You said: hello")
