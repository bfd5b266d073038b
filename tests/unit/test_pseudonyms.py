"""Pseudonyms are the same wherever they are made, differ by field and key, and need a key that is one."""

import hashlib
import hmac

import pyarrow as pa
import pytest
from pydantic import SecretStr

from streams.errors import SpendError
from streams.event_columns import event_batch, with_texts
from streams.pseudonyms import PSEUDONYM, pseudonym, stored_as
from streams.settings import Settings

KEY = b"0123456789abcdef"


def settings(fields: str = "customer", key: str = KEY.decode()) -> Settings:
    return Settings(pseudonyms=fields, pseudonym_key=SecretStr(key))


def test_a_pseudonym_is_a_keyed_hash_of_the_field_and_the_name() -> None:
    told = hmac.new(KEY, "customer\0Café Zürich".encode(), hashlib.sha256).hexdigest()
    assert pseudonym("customer", "Café Zürich", KEY) == f"p-{told[:32]}"
    fields, names, keys = ("customer", "user"), ("a", "b"), (KEY, KEY * 2)
    others = {pseudonym(field, name, key) for field in fields for name in names for key in keys}
    assert len(others) == 8
    assert all(PSEUDONYM.fullmatch(each) for each in others)


def test_a_member_is_stored_as_its_pseudonym_where_the_settings_say_so() -> None:
    acme = pseudonym("customer", "acme", KEY)
    assert stored_as(settings(), "customer", "acme") == acme
    assert stored_as(settings(), "customer", acme) == acme
    assert stored_as(settings(), "customer", "") == ""
    assert stored_as(settings(), "user", "acme") == stored_as(settings(""), "customer", "acme") == "acme"


@pytest.mark.parametrize(("key", "said"), [("", "set SPEND_PSEUDONYM_KEY"), ("too short, 15 B", "16 bytes at least")])
def test_without_a_key_that_is_one_nothing_is_guessed(key: str, said: str) -> None:
    with pytest.raises(SpendError, match=said) as refused:
        stored_as(settings(key=key), "customer", "acme")
    assert not key or key not in str(refused.value)


def test_a_field_that_holds_no_people_is_refused() -> None:
    with pytest.raises(ValueError, match="customer, user or customer,user"):
        Settings(pseudonyms="workload")


def test_texts_of_a_column_are_replaced_and_the_others_stay() -> None:
    texts = {name: pa.array(["x"] * 5) for name in ("id", "source", "provider", "request_model", "operation")}
    given = {**texts, "time": pa.array([0] * 5, pa.timestamp("us")), "customer": pa.array(["a", None, "b", "", "a"])}
    asked: list[list[str]] = []

    def of(names: list[str]) -> dict[str, str]:
        asked.append(sorted(names))
        return {"a": "A"}

    replaced = with_texts(event_batch(given, 5), "customer", of)
    assert replaced.column("customer").to_pylist() == ["A", None, "b", "", "A"]
    assert asked == [["a", "b"]]
