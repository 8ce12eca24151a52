"""The simulator itself: routes requests, asks for the scenario, makes the answer and sends it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from simulator import answers, asks, checks, dialects, embeddings, errors, pricing, shapes
from simulator.answers import Envelope, Frame
from simulator.asks import Ask
from simulator.catalogue import Catalogue, is_free
from simulator.charges import CANCELLED, Charges, whole_cost
from simulator.control import Control
from simulator.log import Entry, RequestLog
from simulator.openapi import Document
from simulator.playing import Answer, Hangup, Player, shaped
from simulator.replies import Reply, make_reply
from simulator.scenarios import Gates, Scenario, ScenarioBook, raw_bytes
from simulator.wire import Connection, Request

Json = dict[str, Any]
BASE = "/api/v1"
READERS = {
    "/chat/completions": asks.from_chat,
    "/completions": asks.from_completion,
    "/responses": asks.from_responses,
    "/messages": asks.from_messages,
}
_rays = itertools.count(1)


class StandIn:
    """The state and the request handler. `defaults` is the scenario of requests that have none of their own.

    With a `document` the log says of each body what is wrong with it.
    """

    def __init__(
        self,
        records: list[Json] | None = None,
        defaults: Scenario | None = None,
        document: Document | None = None,
    ) -> None:
        self.catalogue = Catalogue(records)
        self.log = RequestLog()
        self.document = document
        self.book = ScenarioBook()
        self.charges = Charges()
        self.gates = Gates()
        self.connections: set[Connection] = set()
        self.defaults = defaults or Scenario()
        self.started = time.time()
        self._busy: set[Connection] = set()
        self.reset()
        self._control = Control(self)

    def reset(self) -> None:
        """Reset everything; requests under way are cut off, idle connections stay open."""
        self.catalogue.reset()
        self.book.clear()
        self.gates.clear()
        self.log.clear()
        self.key_data: Json = {}
        self.key_invalid = False
        self.down: Json = {}
        self.free_requests = 0
        self.charges.clear()
        for connection in self.connections:
            connection.reset_next = False
        for connection in self._busy:
            connection.drop(rst=True)

    async def handle(self, connection: Connection, request: Request) -> None:
        """Serve one request; it is cancelled if the client leaves."""
        if request.path.startswith("/_control/"):
            connection.control_only = True
            await self._control.handle(connection, request)
            return
        body = request.json()
        entry = self.log.begin(request.method, request.path, request.headers, body, connection.id)
        entry.stream = bool(isinstance(body, dict) and body.get("stream"))
        if self.document is not None and request.method == "POST":
            entry.invalid = self.document.complaint(request.path.removeprefix(BASE), body)
        connection.control_only = False
        self._busy.add(connection)
        try:
            await self._play(connection, request, body, entry)
            outcome, detail = "complete", ""
        except asyncio.CancelledError:
            outcome, detail = ("error", "cut off") if connection.dropped else ("client_gone", "")
        except Hangup:
            outcome, detail = "error", "hung up as told"
        except Exception as failure:
            outcome, detail = "error", repr(failure)
            if entry.t_first_byte is None:
                await connection.reply(500, {"error": {"code": 500, "message": f"simulator bug: {failure!r}"}})
            else:
                connection.drop()
        finally:
            self._busy.discard(connection)
        self.log.end(entry, outcome, detail)

    async def _play(self, connection: Connection, request: Request, body: Any, entry: Entry) -> None:
        if connection.reset_next:
            connection.drop(rst=True)
            raise Hangup
        path = request.path.removeprefix(BASE)
        targets = [entry.model, path, "*"] if request.method == "POST" else [path]
        taken = self.book.take(targets)
        target, scenario = taken or ("", self.defaults)
        if scenario.only_for is not None and scenario.only_for.encode() not in request.body:
            target, scenario = "", self.defaults
        if down := self._down(path):
            if down == "refuse":
                connection.drop(rst=True)
                raise Hangup
            answer = self._error(errors.named("503", errors.Circumstances()))
        else:
            scenario = self._priced(request, path, body, scenario)
            answer = self._answer(request, path, body, scenario, explicit=target == entry.model)
        with self._charged(request, entry, answer, scenario):
            await Player(connection, entry, scenario, self.gates, self.log).play(answer)
        if scenario.close_idle_after_response == "fin":
            connection.drop()
        connection.reset_next = scenario.close_idle_after_response in (True, "reset")

    @contextmanager
    def _charged(self, request: Request, entry: Entry, answer: Answer, scenario: Scenario) -> Iterator[None]:
        """Note what an answer costs, by how it ends."""
        generation = answer.headers.get("X-Generation-Id")
        if generation is None or answer.status != 200:
            yield
            return
        model, record = entry.model or "", self.catalogue.get(entry.model or "")
        free = bool(record and is_free(record))
        charge = self.charges.begin(generation, request.headers.get("x-session-id", ""), model)
        ended, cost = "failed", whole_cost(free=free, usage=scenario.usage)
        try:
            yield
            ended = "failed" if scenario.fails else "complete"
        except asyncio.CancelledError:
            ended = "cancelled"
            cost = 0 if free else CANCELLED if entry.stream else cost
            raise
        finally:
            charge.cost = cost if ended != "failed" or "cost" in (scenario.usage or {}) else 0
            charge.ended = ended

    def _priced(self, request: Request, path: str, body: Any, scenario: Scenario) -> Scenario:
        """The scenario, with the most that an answer may cost as its cost, if it wants that."""
        record = self.catalogue.get(body.get("model") or "") if isinstance(body, dict) else None
        if scenario.cost != "most" or record is None:
            return scenario
        return replace(scenario, usage={"cost": pricing.most(path, body, dict(request.headers), record)})

    def _down(self, path: str) -> Any:
        catalogue = path.startswith(("/models", "/model/", "/embeddings/models"))
        group = "models" if catalogue else "key" if path == "/key" else "chat"
        return self.down.get(group) or self.down.get("all")

    # answers

    def _answer(self, request: Request, path: str, body: Any, scenario: Scenario, *, explicit: bool) -> Answer:
        if request.method == "GET":
            return self._get(request, path, scenario)
        if request.method != "POST" or (path not in READERS and path != "/embeddings"):
            return self._named("404_not_found", scenario)
        bad = checks.bad_key(request.headers.get("authorization"), all_invalid=self.key_invalid)
        if bad:
            return self._named(bad, scenario, path=path)
        if not isinstance(body, dict):
            return self._named("400_input_required", scenario, path=path)
        model = body.get("model") or ""
        if scenario.is_http_error:
            return self._http_error(scenario, model, path)
        if scenario.raw_response is not None:
            return self._raw(scenario)
        record = self.catalogue.get(model)
        self.free_requests += bool(record and is_free(record))
        cost = whole_cost(free=bool(record and is_free(record)), usage=scenario.usage)
        envelope = answers.new_envelope(self._reported(model, record, scenario), cost=cost)
        if scenario.error_in_200_json:
            failed = {"id": envelope.id, "error": self._failure(scenario, model).error}
            return self._json(failed, envelope, padding=scenario.padding)
        if path == "/embeddings":
            return self._embeddings(body, record, envelope, scenario)
        ask = READERS[path](body)
        if not (scenario.unchecked or (explicit and record is None)):
            problem = shapes.bad_shape(path, body) or checks.bad_chat(body, ask, record)
            if path == "/chat/completions" and not problem and not body.get("messages") and not body.get("prompt"):
                problem = "400_input_required"
            if problem:
                return self._named(problem, scenario, path=path, model=model)
        reply = make_reply(ask, record or {}, scenario)
        if ask.stream and not scenario.whole_json:
            return self._stream(path, envelope, ask, reply, scenario)
        return self._whole(path, envelope, ask, reply, scenario)

    def _reported(self, model: str, record: Json | None, scenario: Scenario) -> str:
        if scenario.reported_model:
            return scenario.reported_model
        if record is None or model.endswith(":free"):
            return model
        return str(record.get("canonical_slug") or model)

    def _stream(self, path: str, envelope: Envelope, ask: Ask, reply: Reply, scenario: Scenario) -> Answer:
        headers = {**_headers(envelope), "Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        if scenario.events is not None:
            return Answer(200, headers, answers.given_frames(scenario.events), answers.COMMENT)

        def failure() -> Frame:
            error = self._failure(scenario, ask.model).error
            if scenario.error_name is None and scenario.shape == 3:
                error = errors.named("token_limit_reached", errors.Circumstances()).error
            if path == "/messages":
                return dialects.message_error(error)
            if path == "/responses":
                return dialects.response_failed(envelope, error)
            return answers.error_frame(envelope, error, scenario.shape)

        frames: Iterator[Frame]
        if path == "/messages":
            frames = dialects.message_frames(envelope, reply)
        elif path == "/responses":
            frames = dialects.response_frames(envelope, reply)
        elif path == "/completions":
            frames = answers.completion_frames(envelope, reply, scenario)
        else:
            frames = answers.chat_frames(envelope, ask, reply, scenario)
        return Answer(200, headers, shaped(frames, scenario, failure), answers.COMMENT)

    def _whole(self, path: str, envelope: Envelope, ask: Ask, reply: Reply, scenario: Scenario) -> Answer:
        if path == "/messages":
            body = dialects.message_body(envelope, reply)
        elif path == "/responses":
            body = dialects.response_body(envelope, reply)
        elif path == "/completions":
            body = answers.completion_body(envelope, reply, scenario)
        else:
            body = answers.chat_body(envelope, ask, reply, scenario)
        return self._json(body, envelope, padding=scenario.padding, tokens=reply.completion_tokens)

    def _embeddings(self, body: Json, record: Json | None, envelope: Envelope, scenario: Scenario) -> Answer:
        texts = embeddings.inputs(body.get("input"))
        if problem := checks.bad_embedding(body, texts, record):
            return self._named(problem, scenario, model=body.get("model") or "")
        return self._json(embeddings.embeddings_body(envelope, body, texts), envelope, padding=scenario.padding)

    def _json(self, body: Json, envelope: Envelope, *, padding: bool, tokens: int = 0) -> Answer:
        """A 200 body in two halves, with padding before it as OpenRouter sends it while it waits."""
        data = answers.encode(body)
        half = len(data) // 2
        frames = [Frame(data[:half]), Frame(data[half:])]
        headers = {**_headers(envelope), "Content-Type": "application/json"}
        return Answer(200, headers, frames, answers.PADDING if padding else b"", tokens=tokens)

    def _raw(self, scenario: Scenario) -> Answer:
        raw = scenario.raw_response or {}
        headers = {**_headers(None), "Content-Type": raw.get("content_type", "text/event-stream"), **scenario.headers}
        return Answer(raw.get("status", 200), headers, [Frame(raw_bytes(raw), "content")])

    # errors

    def _circumstances(self, scenario: Scenario, model: str) -> errors.Circumstances:
        return errors.Circumstances(
            model=model,
            base=scenario.posted,
            reset_in=scenario.reset_in,
            retry_after=scenario.retry_after,
            limit=scenario.limit,
            affordable=scenario.affordable,
        )

    def _failure(self, scenario: Scenario, model: str) -> errors.HttpError:
        if isinstance(scenario.body, dict) and "error" in scenario.body:
            return errors.HttpError(scenario.status or 500, scenario.body)
        return errors.named(scenario.error_name or "503", self._circumstances(scenario, model))

    def _http_error(self, scenario: Scenario, model: str, path: str) -> Answer:
        if scenario.error_name is not None:
            made = errors.named(scenario.error_name, self._circumstances(scenario, model))
            status = made.status if scenario.status is None else scenario.status
            body = made.body if scenario.body is None else scenario.body
            made = replace(made, status=status, body=body, headers={**made.headers, **scenario.headers})
            if scenario.http_rate_headers:
                echoed = made.error.get("metadata", {}).get("headers", {})
                made = replace(made, headers={**made.headers, **echoed})
        else:
            made = errors.HttpError(scenario.status or 500, scenario.body, scenario.headers)
        return self._error(made, path)

    def _named(self, name: str, scenario: Scenario, *, path: str = "", model: str = "") -> Answer:
        return self._error(errors.named(name, self._circumstances(scenario, model)), path)

    def _error(self, made: errors.HttpError, path: str = "") -> Answer:
        body = made.body
        kind = "application/json"
        if isinstance(body, str):
            data = body.encode()
            kind = "text/html; charset=UTF-8" if body.lstrip().startswith("<") else kind
        else:
            if path == "/messages" and isinstance(body, dict) and "code" in (body.get("error") or {}):
                body = dialects.message_error_body(body["error"])
            data = b"" if body is None else answers.encode(body)
        headers = {**_headers(None), "Content-Type": kind, **made.headers}
        return Answer(made.status, headers, [Frame(data)], length=len(data))

    # GET

    def _get(self, request: Request, path: str, scenario: Scenario) -> Answer:
        if scenario.is_http_error:
            return self._http_error(scenario, "", path)
        if scenario.raw_response is not None:
            return self._raw(scenario)
        if path in ("/key", "/auth/key", "/models/user"):
            bad = checks.bad_key(request.headers.get("authorization"), all_invalid=self.key_invalid)
            if bad:
                return self._named(bad, scenario)
        if path in ("/key", "/auth/key"):
            return self._plain({"data": self._key()}, {"Cache-Control": "private, no-store"})
        if path == "/generation":
            charge = self.charges.get(request.query.get("id", ""))
            return self._plain({"data": charge.document()}) if charge else self._named("404_not_found", scenario)
        if path == "/models/count":
            return self._plain({"data": {"count": len(self.catalogue.listed("text"))}})
        if path.startswith("/model/"):
            record = self.catalogue.get(path.removeprefix("/model/"))
            return self._plain({"data": record}) if record else self._named("404_not_found", scenario)
        kinds = {"/models": "text", "/models/user": "user", "/embeddings/models": "embeddings"}
        if path not in kinds:
            return self._named("404_not_found", scenario)
        kind = "all" if "embeddings" in request.query.get("output_modalities", "") else kinds[path]
        kind = "all" if request.query.get("output_modalities") == "all" else kind
        plain, zipped = self.catalogue.page(kind)
        headers = {**_headers(None), "Content-Type": "application/json", "CF-Cache-Status": "HIT", "Age": "12"}
        headers["Cache-Control"] = "public, max-age=300, stale-while-revalidate=3600"
        if path == "/models/user":
            headers["Cache-Control"] = "private, no-store"
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Answer(200, {**headers, "Content-Encoding": "gzip"}, [Frame(zipped)])
        return Answer(200, headers, [Frame(plain)])

    def _plain(self, body: Json, headers: dict[str, str] | None = None) -> Answer:
        data = answers.encode(body)
        shown = {**_headers(None), "Content-Type": "application/json", **(headers or {})}
        return Answer(200, shown, [Frame(data)], length=len(data))

    def _key(self) -> Json:
        used = self.free_requests
        return {
            "label": "sk-or-v1-sim...key",
            "limit": None,
            "limit_remaining": None,
            "limit_reset": None,
            "include_byok_in_limit": False,
            "usage": 0,
            "usage_daily": 0,
            "usage_weekly": 0,
            "usage_monthly": 0,
            "is_free_tier": True,
            "is_management_key": False,
            "is_provisioning_key": False,
            "expires_at": None,
            "creator_user_id": "user_simulated000000000000000",
            "free_model_daily_requests": {"used": used, "limit": 50, "remaining": max(0, 50 - used)},
            "rate_limit": {"requests": -1, "interval": "10s", "note": "Deprecated"},
            **self.key_data,
        }


def _headers(envelope: Envelope | None) -> dict[str, str]:
    made = {
        "Server": "cloudflare",
        "CF-RAY": f"{next(_rays):016x}-SIM",
        "Access-Control-Allow-Origin": "*",
        "Set-Cookie": "__cf_bm=simulated; path=/; HttpOnly",
    }
    if envelope is not None:
        made["X-Generation-Id"] = envelope.id
    return made
