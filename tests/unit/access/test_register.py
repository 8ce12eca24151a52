"""The keys in the memory of a process: what counts, what is not known yet, and what a lost table does not say."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.access.key_texts import fingerprint
from ollama_proxy.access.policy import PATH_KEY, AccessPolicy
from ollama_proxy.access.register import KeyRegister, Register
from ollama_proxy.config import Settings
from ollama_proxy.errors import Forbidden, Unauthorized, Unavailable
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.key_table import KeyRow, StoredKeys
from tests.unit.access.test_policy import request

NOW = 1_800_000_000.0
SECRET = "opk_secretsecret"


def row(name: str = "anna", secret: str = SECRET, **changes: Any) -> KeyRow:
    values: dict[str, Any] = {
        "id": 1, "name": name, "folded": name.casefold(), "sha256": fingerprint(secret.encode()).hex(),
        "prefix": secret[:8], "models": "", "free_only": 0, "per_minute": None, "parallel": None,
        "free_per_day": None, "microusd_per_day": None, "microusd_per_month": None, "expires": None, "disabled": 0,
        "admin": 0, "metrics": 0, "note": "", "created": NOW,
    }  # fmt: skip
    return KeyRow(**values | changes)


class Table:
    """What `load` returns, and how often it was asked."""

    def __init__(self, *rows: KeyRow, required: bool | None = True) -> None:
        self.stored, self.is_away, self.asked = StoredKeys(rows, required), False, 0

    def load(self) -> StoredKeys:
        self.asked += 1
        if self.is_away:
            raise StorageUnavailable("away")
        return self.stored


def register_of(table: Table, **options: Any) -> KeyRegister:
    return KeyRegister(table.load, monotonic=lambda: 0.0, **options)


def policy_of(table: Table, **settings: Any) -> AccessPolicy:
    return AccessPolicy(Settings(**settings), register=register_of(table).current, clock=lambda: NOW)


def verdict(policy: AccessPolicy, secret: str | None, **more: Any) -> str:
    environ = request(**more) if secret is None else request(AUTHORIZATION=f"Bearer {secret}", **more)
    decision = policy.check(environ)
    if decision.error is not None:
        return f"{decision.error.status} {decision.error.message}"
    return decision.caller.name if decision.status is None else str(decision.status)


REFUSED = "401 unauthorized: this server needs an API key (Authorization: Bearer <key>)"


@pytest.mark.parametrize(
    ("stored", "secret", "expected"),
    [
        pytest.param(row(), SECRET, "anna", id="a key"),
        pytest.param(row(), None, REFUSED, id="none"),
        pytest.param(row(), "", REFUSED, id="an empty one"),
        pytest.param(row(), SECRET + "x", REFUSED, id="unknown"),
        pytest.param(row(disabled=1), SECRET, REFUSED, id="disabled"),
        pytest.param(row(expires=NOW), SECRET, REFUSED, id="expired this moment"),
        pytest.param(row(expires=NOW + 1), SECRET, "anna", id="not yet expired"),
    ],
)
def test_a_key_of_the_database_and_one_text_for_all_that_do_not_count(
    stored: KeyRow, secret: str | None, expected: str
) -> None:
    assert verdict(policy_of(Table(stored)), secret) == expected


def test_keys_are_required_when_the_last_one_is_gone_until_keys_off_says_otherwise() -> None:
    assert verdict(policy_of(Table(required=True)), None) == REFUSED
    assert verdict(policy_of(Table(required=False)), None) == "127.0.0.1"
    assert verdict(policy_of(Table(required=None)), None) == "127.0.0.1", "no key was ever made"
    assert verdict(policy_of(Table(row(), required=False)), "whatever") == "127.0.0.1", "SDKs always send something"


def test_nobody_is_served_while_nobody_knows_the_keys_but_holders_of_proxy_api_keys() -> None:
    table = Table(row())
    table.is_away = True
    policy = policy_of(table, proxy_api_keys=("operators-own",))
    assert verdict(policy, None).startswith("503 this server does not know yet who may call")
    assert verdict(policy, SECRET).startswith("503 ")
    assert verdict(policy, "operators-own") == "key 1"
    assert verdict(policy, None, path="/health") == "127.0.0.1"
    assert verdict(policy, None, path="/") == "127.0.0.1"
    decision = policy.check(request())
    assert isinstance(decision.error, Unavailable)
    assert decision.error.retry_after


def test_a_table_that_is_away_is_asked_again_after_a_rest_only() -> None:
    table, now = Table(row()), [0.0]
    table.is_away = True
    register = KeyRegister(table.load, monotonic=lambda: now[0])
    assert [register.current() for _ in range(5)] == [None] * 5
    assert table.asked == 1
    table.is_away, now[0] = False, 60.0
    found = register.current()
    assert found is not None
    assert found.required
    assert table.asked == 2


def test_what_is_in_memory_goes_on_while_the_database_is_away_and_expiry_goes_by_the_clock() -> None:
    table, now = Table(row(expires=NOW + 10)), [NOW]
    register = register_of(table)
    policy = AccessPolicy(Settings(), register=register.current, clock=lambda: now[0])
    assert verdict(policy, SECRET) == "anna"
    table.is_away = True
    with pytest.raises(StorageUnavailable):
        register.reload()
    assert verdict(policy, SECRET) == "anna"
    now[0] = NOW + 10
    assert verdict(policy, SECRET) == REFUSED


def test_a_table_that_is_lost_while_the_server_runs_opens_nothing() -> None:
    warnings: list[str] = []
    table = Table(row())
    register = register_of(table, on_warning=warnings.append)
    register.reload()
    table.stored = StoredKeys()
    register.reload()
    register.reload()
    found = register.current()
    assert found is not None
    assert found.required
    assert found.find(fingerprint(SECRET.encode()), NOW) is not None
    assert len(warnings) == 1
    table.stored = StoredKeys((), required=False)
    register.reload()
    found = register.current()
    assert found is not None
    assert not found.required


def test_the_name_of_a_key_of_the_settings_wins() -> None:
    warnings: list[str] = []
    table = Table(row("Anna"), row("ben", "opk_of-ben", id=2))
    register = register_of(table, taken={"anna"}, on_warning=warnings.append)
    register.reload()
    assert register.known is not None
    assert [key.name for key in register.known.keys.values()] == ["ben"]
    assert len(warnings) == 1
    assert "'Anna'" in warnings[0]


def test_a_key_that_stands_in_both_is_the_settings_one() -> None:
    policy = policy_of(Table(row()), proxy_api_keys=(SECRET,))
    assert verdict(policy, SECRET) == "key 1"


def test_host_is_free_on_a_loopback_bind_once_keys_are_required() -> None:
    strange = {"HOST": "evil.example"}
    assert verdict(policy_of(Table(required=None), host="127.0.0.1"), None, **strange) == "403"
    assert verdict(policy_of(Table(row()), host="127.0.0.1"), SECRET, **strange) == "anna"


def test_only_an_admin_may_delete() -> None:
    table = Table(row(), row("boss", "opk_of-boss", id=2, admin=1))
    assert verdict(policy_of(table), SECRET, method="DELETE", path="/api/delete").startswith("403 ")
    assert verdict(policy_of(table), "opk_of-boss", method="DELETE", path="/api/delete") == "boss"


# A key in the path


def with_path_key(secret: str, **more: Any) -> dict[str, Any]:
    return {**request(**more), PATH_KEY: secret}


def test_a_key_in_the_path_beats_a_header_and_a_wrong_one_is_never_anonymous() -> None:
    policy = policy_of(Table(row(), row("boss", "opk_of-boss", id=2, admin=1)))
    decision = policy.check(with_path_key(SECRET, AUTHORIZATION="Bearer opk_of-boss"))
    assert decision.caller.name == "anna"
    assert ("Referrer-Policy", "no-referrer") in decision.headers
    open_to_all = policy_of(Table(required=None))
    for wrong in (policy, open_to_all):
        for path in ("/api/chat", "/", "/health"):
            found = wrong.check(with_path_key("ollama", AUTHORIZATION=f"Bearer {SECRET}", path=path))
            assert isinstance(found.error, Unauthorized), path


def test_a_key_in_the_path_has_no_rights_of_an_admin_and_opens_no_page() -> None:
    policy = policy_of(Table(row(admin=1, metrics=1)), proxy_api_keys=("operators-own",))
    for secret in (SECRET, "operators-own"):
        held = policy.check(with_path_key(secret)).caller.holds
        assert held is not None
        assert (held.admin, held.metrics) == (False, False)
        assert isinstance(policy.check(with_path_key(secret, path="/ui/keys")).error, Forbidden)
        assert isinstance(policy.check(with_path_key(secret, method="DELETE")).error, Forbidden)


# The time of a look-up, by what is done in it


class Counted(dict[bytes, Any]):
    """A table of keys that counts how often it is asked."""

    looked = 0

    def get(self, *arguments: Any) -> Any:
        self.looked += 1
        return super().get(*arguments)


def test_known_and_unknown_keys_cost_the_same_look_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look-up by a digest, and one comparison with each key of the settings, whatever the key is."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    table = Table(row(), *(row(f"k{n}", f"opk_{n}", id=n, disabled=n % 2) for n in range(2, 50)))
    loaded = register_of(table)
    loaded.reload()
    assert loaded.known is not None
    register = Register(Counted(loaded.known.keys), required=True)
    policy = AccessPolicy(
        Settings(proxy_api_keys=("operator-1", "named=operator-2")), register=lambda: register, clock=lambda: NOW
    )
    costs = set()
    for secret in (SECRET, "opk_2", "opk_3", "unknown", "operator-1", "operator-2", "x" * 5000):
        counted = register.keys
        assert isinstance(counted, Counted)
        counted.looked, compared[:] = 0, []
        verdict(policy, secret)
        costs.add((counted.looked, len(compared), len(set(map(len, compared)))))
    assert costs == {(1, 3, 1)}
