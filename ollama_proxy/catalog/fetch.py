"""Gets the model lists from OpenRouter."""

from __future__ import annotations

from typing import Any

from ollama_proxy.catalog.keeper import FetchedCatalog
from ollama_proxy.openrouter.errors.failure import FailureKind
from ollama_proxy.openrouter.http.client import Client, UpstreamError


class FetchFailed(Exception):
    """No list came. The text says why, for the log and for clients that ask before there is any list."""


def fetch_catalog(client: Client, *, with_key: bool) -> FetchedCatalog:
    """Both lists: the chat models that the key's account may use (else all), and the embedding models.

    Raises FetchFailed if no list of chat models can be had.
    """
    if with_key:
        # The account's privacy settings have been applied to this list: models that would only refuse are gone.
        try:
            return FetchedCatalog(_records(client, "/models/user"), _embeddings(client), "/models/user")
        except FetchFailed:
            pass
    return FetchedCatalog(_records(client, "/models"), _embeddings(client), "/models")


def _embeddings(client: Client) -> list[dict[str, Any]] | None:
    try:
        return _records(client, "/embeddings/models")
    except FetchFailed:
        return None


def _records(client: Client, path: str) -> list[dict[str, Any]]:
    try:
        # Only the account's own list takes the key: the public ones answer anybody, a revoked key too.
        status, body = client.get(path, with_key=path == "/models/user")
    except UpstreamError as error:
        what = "cannot be reached" if error.failure.kind is FailureKind.NETWORK else "gave no model list"
        raise FetchFailed(f"OpenRouter {what}: {error.failure.detail}") from error
    data = body.get("data") if isinstance(body, dict) else None
    if status != 200 or not isinstance(data, list):
        raise FetchFailed(f"OpenRouter's model list answered with status {status}")
    return data
