"""What Ollama's command line makes of an answer, rebuilt from its source (`api/client.go`, `cmd/cmd.go`)."""

from __future__ import annotations

import json
from typing import Any

import requests

from tests.servers import PATIENCE, ProxyServer

AGENT = "ollama/0.32.7 (amd64 linux) Go/go1.26.0"
SIGN_IN = "You need to be signed in to Ollama to run Cloud models."
NOTHING_SAID = "something went wrong, please see the ollama server logs for details"


class AuthorizationError(Exception):
    """What the client makes of a 401; the text in its body is lost."""


class StatusError(Exception):
    """What the client makes of any other error status."""


class CommandLine:
    """The calls of the command line to one server. They raise what its Go client returns as an error."""

    def __init__(self, proxy: ProxyServer, **headers: str) -> None:
        self._url = proxy.url
        self._headers = {"User-Agent": AGENT, "Accept": "application/json", **headers}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """`Client.do`: one object."""
        answer = requests.request(method, self._url + path, json=body, headers=self._headers, timeout=PATIENCE)
        if answer.status_code == 401:
            raise AuthorizationError(f"{answer.status_code} {answer.reason}")
        if answer.status_code >= 400:
            try:
                text = answer.json()["error"]
            except (ValueError, KeyError):
                text = answer.text
            raise StatusError(text or NOTHING_SAID)
        return answer.json() if answer.content else None

    def stream(self, path: str, body: Any) -> list[dict[str, Any]]:
        """`Client.stream`: an object a line, the first one with a string `error` ends it."""
        answer = requests.post(self._url + path, json=body, headers=self._headers, timeout=PATIENCE)
        lines = []
        for line in answer.text.splitlines():
            value = json.loads(line)
            if answer.status_code == 401:
                raise AuthorizationError(f"{answer.status_code} {answer.reason}")
            if answer.status_code >= 400:
                raise StatusError(f"{answer.status_code} {answer.reason}: {value.get('error', '')}")
            if value.get("error"):
                raise RuntimeError(value["error"])
            lines.append(value)
        return lines

    def run(self, name: str, prompt: str) -> str:
        """`ollama run NAME PROMPT`: what it prints."""
        try:
            try:
                self.call("POST", "/api/show", {"model": name})
            except StatusError as error:
                if "not found" not in str(error):
                    raise
                self.stream("/api/pull", {"model": name})
                self.call("POST", "/api/show", {"model": name})
            lines = self.stream("/api/generate", {"model": name, "prompt": prompt})
        except AuthorizationError:
            return SIGN_IN
        except (StatusError, RuntimeError) as error:
            return f"Error: {error}"
        return "".join(line["response"] for line in lines)

    def create(self, name: str, **said: Any) -> list[str]:
        """`ollama create NAME -f FILE`: the lines that it prints. `said` is what its own parser made of the file."""
        lines = self.stream("/api/create", {"model": name, **said, "name": ""})
        return [line["status"] for line in lines]

    def show(self, name: str) -> dict[str, Any]:
        """`ollama show NAME`, of which flags print one field."""
        shown: dict[str, Any] = self.call(
            "POST", "/api/show", {**dict.fromkeys(("model", "system", "template"), ""), **_SHOW, "name": name}
        )
        return shown

    def copy(self, source: str, destination: str) -> str:
        """`ollama cp SOURCE DESTINATION`: what it prints."""
        self.call("POST", "/api/copy", {"source": source, "destination": destination})
        return f"copied '{source}' to '{destination}'"

    def remove(self, name: str) -> str:
        """`ollama rm NAME`: it looks whether there is such a model, stops it, and deletes it."""
        if not self.show(name).get("remote_host"):
            self.stream("/api/generate", {"model": name, "prompt": "", "keep_alive": 0})
        self.call("DELETE", "/api/delete", {"model": "", "name": name})
        return f"deleted '{name}'"

    def save(self, name: str, running: str, **said: Any) -> list[str]:
        """`/save NAME` in a chat with `running`. `said` is what the session set, and its messages."""
        base = self.show(running)["details"]["parent_model"] or running
        return self.create(name, **{"from": base}, **said)


_SHOW = {"verbose": False, "options": None}


def session_ends_with(text: str) -> bool:
    """Whether the interactive session ends at this error (`cmd/interactive.go`)."""
    return not any(words in text for words in ("upstream error", "does not support thinking", "invalid think value"))


def picked(recommendations: Any, tags: Any) -> list[str]:
    """The names that the pickers of `ollama` and `ollama launch` show, recommended ones first (`cmd/launch`)."""
    listed = {model["name"] for model in tags["models"]}
    first = [one["model"] for one in recommendations["recommendations"]]
    assert all(name in listed or f"{name}:latest" in listed for name in first), "a picker would download it first"
    return first + [name for name in sorted(listed) if name not in first and name.removesuffix(":latest") not in first]
