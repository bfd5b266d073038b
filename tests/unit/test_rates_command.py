"""`spendstream rates`: explain needs no server; list, set and remove speak to a real broker."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner, Result

from streams import embedded
from streams.cli import rates
from streams.errors import SpendError
from streams.kafka import admin
from streams.settings import Settings, settings
from streams.topics import RATES

DEAL = """
- {id: deal, provider: openai, model: gpt-5, per_million_tokens: {input: "1.00"}}
- {id: globex, customer: globex, discount_percent: "7.5"}
"""


def run(*words: str, text: str | None = None) -> Result:
    """Run `spendstream rates WORDS`."""
    return CliRunner().invoke(rates.app, list(words), input=text)


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings as if the environment had none."""
    monkeypatch.delenv("SPEND_RATES_FILE", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_explain_says_which_rate_prices_a_model_at_an_instant(no_settings: None) -> None:
    said = run("explain", "deepseek", "deepseek-v4-pro", "--at", "2026-08-16T16:00:00Z", "--offline", "--json")
    assert said.exit_code == 0
    answer = json.loads(said.stdout)
    assert answer["rate_id"] == "deepseek/deepseek-v4-pro"
    assert answer["dollars_per_unit"]["input"] == "0.00000066"
    assert answer["steps"][-1].startswith("deepseek-v4-pro-off-peak: ")


def test_explain_of_an_unknown_model_says_so_and_exits_with_1(no_settings: None) -> None:
    said = run("explain", "openai", "gpt-5.9-ultra", "--offline")
    assert said.exit_code == 1
    assert "unpriced" in said.stdout and "'gpt-5.9-ultra' is not in the default data" in said.stdout


def test_explain_counts_the_own_rates_of_the_file(
    no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(DEAL)
    monkeypatch.setenv("SPEND_RATES_FILE", str(path))
    said = run("explain", "openai", "gpt-5", "--customer", "globex", "--offline", "--json")
    assert json.loads(said.stdout)["rate_id"] == "globex+deal on openai/gpt-5"


def test_explain_of_an_instant_that_is_none(no_settings: None) -> None:
    said = run("explain", "openai", "gpt-5", "--at", "yesterday", "--offline")
    assert isinstance(said.exception, SpendError)
    assert "--at: 'yesterday' is not an instant" in str(said.exception)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An embedded broker of this module's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = embedded.broker(Settings(kafka_bootstrap_servers=f"127.0.0.1:{port}"))
    process = subprocess.Popen(
        server.command,
        env={**os.environ, **server.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not server.ready():
            assert time.monotonic() < deadline and process.poll() is None, "the broker did not start"
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()  # it keeps nothing; told to stop it takes five seconds
        process.wait(10)


@pytest.mark.stack
def test_rates_are_set_listed_replaced_and_removed(
    no_settings: None, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEND_KAFKA_BOOTSTRAP_SERVERS", address)
    client = admin(settings())
    client.create_topics([NewTopic(RATES, 1, 1)])[RATES].result()
    assert "No own rates" in run("list").stdout

    path = tmp_path / "new.yaml"
    path.write_text(DEAL)
    assert run("set", str(path)).exit_code == 0
    listed = json.loads(run("list", "--json").stdout)
    assert [(rate["from"], rate["id"]) for rate in listed] == [("topic", "deal"), ("topic", "globex")]

    path.write_text('- {id: globex, customer: globex, discount_percent: "9"}')
    run("set", str(path))
    listed = json.loads(run("list", "--json").stdout)
    assert {rate["id"]: rate.get("discount_percent") for rate in listed} == {"deal": None, "globex": "9"}
    explained = run("explain", "openai", "gpt-5", "--customer", "globex", "--json")
    assert json.loads(explained.stdout)["dollars_per_unit"]["input"] == "0.00000091"

    path.write_text("- {id: rival, customer: globex, discount_percent: 1}")
    refused = run("set", str(path))
    assert isinstance(refused.exception, SpendError) and "'globex' and 'rival'" in str(refused.exception)

    unknown = run("remove", "nobody")
    assert isinstance(unknown.exception, SpendError) and "nobody" in str(unknown.exception)
    assert run("remove", "deal", "globex").exit_code == 0
    assert "No own rates" in run("list").stdout
