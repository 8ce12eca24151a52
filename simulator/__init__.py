"""A stand-in OpenRouter over real sockets, plain or TLS; it knows nothing of the proxy.

    python -m simulator --port 9999 [--models FILE] [--tls [--ca-file FILE]] [--scenario JSON]

prints `simulator listening on http://127.0.0.1:9999/api/v1`; with TLS `... https://127.0.0.1:9999/api/v1 ca-file PATH`.
In tests: `from simulator.process import Simulator`; `with Simulator(tls=False) as sim:` gives `.url`, `.ca_file`,
`.scenario(model, times=, for_seconds=, **members)`, `.queue(model, {...}, {...})`, `.clear(model)`, `.release(hold)`,
`.control(name, body)`, `.log(since, wait=, minimum=, **filters)`, `.chats(...)`, `.stats()`, `.reset()`, `.stop()`.

Endpoints under /api/v1: GET /models, /models/user, /models/count, /embeddings/models, /model/{author}/{slug}, /key,
/generation;
POST /chat/completions, /completions, /embeddings, /responses, /messages. Keys: `sk-or-*` good, `sk-or-bad*` not.

Without a scenario: "This is MODEL speaking. You said: LAST USER TEXT", one word (= one token) a delta; reasoning first
if the model reasons; tool calls if tools were sent and the text holds "call NAME" or "weather"; after tool results
"This is MODEL speaking. The tool said: RESULT"; JSON for `response_format`; `max_tokens`, `stop`, `logprobs` honoured.
Refused as upstream does: unknown model, tools or images or no thinking where the model cannot, too long a prompt,
arguments that are no string, orphan tool results, tool names with dots, embedding models in a chat, bodies of a shape
that OpenRouter's types do not have (shapes.py). A model that does not list `stop` never gets it.

Scenarios: POST /_control/scenario `{"model": M, "scenario": {...}, "times": N, "for_seconds": S, "replace": bool}`.
M is a model id as sent, an endpoint ("/chat/completions", also "/models", "/key"), or "*" (every POST); the first of
these that has one is used, one a request. `times` null = endless; a new scenario queues behind the old ones, but takes
the place of an endless one. `"scenarios": [{...}, {...}]` = one request each. `"scenario": null` drops M's queue.
`{}` = behave normally.

An error or a fixed body
    error_name "pool_429"       a named error (errors.py); alone = HTTP error; also the error of the two members below
    reset_in 2.5, retry_after 3 seconds, from the posting on, for 429s; limit 20; affordable 100 (402_fewer_tokens);
                                http_rate_headers true = X-RateLimit-* as HTTP headers too
    status 418, body {..}|"text", headers {..}                  any HTTP answer
    in_stream_error 0, shape 1|2|3, error_done false            error event in the place of payload 0; shape 3: after
                                                                the finish, in the place of the usage chunk
    error_in_200_json true      {"id", "error"} with status 200
    raw_response {"text"|"base64", "content_type", "status"}    exact bytes as the body
    events [{payload}, "[DONE]", ": comment", {"base64": ".."}] exact events (nothing is added)
What is said
    text "a b" | ["a ", "b"], tokens 200 ("t0 t1 ..."), reasoning "..."|[..]|true|false, refusal "...", images [url],
    tool_calls [{"name", "arguments", "id"?}], tool_call_fragments 3 (1 = whole in one), empty true (0 tokens),
    finish_reason "length", native_finish_reason, usage {overrides}, cost "most" (pricing.py), reported_model "x/y-2026"
Shape
    comments 1, early_close N [+ rst] (torn down after N events), early_end N (proper end of the body after N events),
    close_without_done, no_finish, no_usage, usage_empty_choices, usage_finish_null, crlf, chunked false, padding false,
    whole_json (JSON to a streamed call), coalesce (one write), cut [5, 9] | cut_every 7 [+ cut_delay 0.01] (at bytes)
Time (seconds)
    silence 30 [+ silence_at N, comment_every 1, before_headers true], delay_first 0.5, token_delay 0.05, record_times,
    hold "name" [+ hold_at N|[N, M]|"every", before_headers true]: waits for POST /_control/release
    {"hold": "name", "count": N|null}; `log(holding="name", wait=5)` waits for one to stand there; "*" releases all
Connections, chance
    close_idle_after_response true (the next request on that connection meets a reset) | "fin" (closed, unannounced);
    early_close 0 + before_headers true [+ rst] (no answer at all); cut_head N [+ rst] (torn down after N bytes of the
    answer's head); unchecked true (no refusals);
    only_for "text" (requests whose body holds this text; all others are answered as usual),
    fail_rate 0.3, seed 1, failures ["pool_429", "empty", "early_close", "rst", {...}] (names, kinds, scenarios)

Other controls (POST): reset {}; models {"data"|"add"|"remove"|"patch"|"hidden_from_user"}: partial records are filled;
key {"invalid": true, "is_free_tier": false, ...}; down {"models": true|"refuse", "chat": ..., "key": ..., "all": ...}.

GET /_control/log?since=N&wait=S&min=K&model=&path=&method=&outcome=&holding=&min_events= : list of {n, method, path,
model, headers, key (last 4), key_id, body, connection, stream, status, t_start, t_first_byte, t_end, outcome, detail,
holding, events_sent, event_times, invalid}; times are epoch seconds; event_times (with record_times): one an event;
outcome open | complete | client_gone | error (torn down as told, or a bug). `invalid` is what OpenRouter's OpenAPI
document (openapi.py) has against the body, "" if nothing; `&invalid=1` shows only those.
GET /_control/charges: what each answer cost (charges.py): {generation, session (x-session-id), model, cost (dollars),
ended complete | cancelled | failed}. A scenario's usage {"cost": C} is what its answer costs.
GET /_control/stats: open_connections, open_streams, peak_open_streams, total, cpu_seconds, max_rss_kb, uptime.
"""
