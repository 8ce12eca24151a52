"""Fetches the model lists from OpenRouter."""

from __future__ import annotations

from typing import Any

from ollama_proxy.catalog.keeper import FetchedCatalog
from ollama_proxy.openrouter.errors.failure import FailureKind
from ollama_proxy.openrouter.http.client import Client, UpstreamError


class FetchFailed(Exception):
    """No list could be fetched. The text says why, for the log and for clients that ask before there is any list."""


def fetch_catalog(client: Client, *, with_key: bool) -> FetchedCatalog:
    """Fetch both lists: the chat models that the key's account may use (else all), and the embedding models.

    Raises FetchFailed if no list of chat models can be fetched.
    """
    if with_key:
        # OpenRouter applies the account's privacy settings to this list: it holds no models that would only refuse.
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
        # Only the account's own list needs the key. The public lists answer anybody, so they say nothing about the key.
        status, body = client.get(path, with_key=path == "/models/user")
    except UpstreamError as error:
        what = "cannot be reached" if error.failure.kind is FailureKind.NETWORK else "gave no model list"
        raise FetchFailed(f"OpenRouter {what}: {error.failure.detail}") from error
    data = body.get("data") if isinstance(body, dict) else None
    if status != 200 or not isinstance(data, list):
        raise FetchFailed(f"OpenRouter's model list answered with status {status}")
    return data
