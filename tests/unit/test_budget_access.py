"""Who may change budgets over HTTP."""

import pytest
from multidict import CIMultiDict
from pydantic import SecretStr

from streams.api_access import Denied, require_change
from streams.settings import Settings

HERE = {"Host": "127.0.0.1:6066", "Content-Type": "application/json"}
LOCAL = Settings(web_host="127.0.0.1")
OPEN = Settings(web_host="0.0.0.0")
GUARDED = Settings(web_host="0.0.0.0", api_token=SecretStr("geheim"))


def status(settings: Settings, body: bool = True, **headers: str | None) -> int:
    sent = {**HERE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        require_change(settings, CIMultiDict({k: v for k, v in sent.items() if v is not None}), body=body)
    except Denied as denied:
        return denied.status
    return 200


def test_this_machine_may_change_budgets_where_nobody_else_can_reach_it():
    assert status(LOCAL) == 200
    assert status(LOCAL, Host="localhost:6066") == 200
    assert status(LOCAL, Host="[::1]:6066") == 200
    assert status(LOCAL, Content_Type="application/json; charset=utf-8") == 200
    assert status(LOCAL, Origin="http://127.0.0.1:6066") == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_what_a_browser_sends_without_asking_is_refused(kind: str | None):
    assert status(LOCAL, Content_Type=kind) == 415
    assert status(LOCAL, body=False, Content_Type=kind) == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:8080", "http://localhost:6066", "null"])
def test_a_page_of_another_origin_is_refused(origin: str):
    assert status(LOCAL, Origin=origin) == 403
    assert status(LOCAL, body=False, Origin=origin) == 403


@pytest.mark.parametrize("host", ["evil.example:6066", "127.0.0.1.evil.example", "[::1", "", None])
def test_a_foreign_name_for_this_machine_is_refused(host: str | None):
    assert status(LOCAL, Host=host) == 403


def test_where_others_can_reach_it_a_token_is_needed():
    assert status(OPEN, Host="spend.example:6066") == status(OPEN) == 403
    with pytest.raises(Denied, match="SPEND_API_TOKEN"):
        require_change(OPEN, CIMultiDict(HERE), body=True)
    assert status(GUARDED, Host="spend.example", Authorization="Bearer geheim") == 200
    assert status(GUARDED, Authorization="bearer geheim") == 200
    assert status(GUARDED, Authorization="Bearer geheim", Content_Type="text/plain") == 415


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer geheim2", "Basic geheim", "Bearer g\udce9", "geheim"])
def test_a_missing_or_wrong_token_is_refused(given: str | None):
    assert status(GUARDED, Authorization=given) == 401
    assert status(LOCAL.model_copy(update={"api_token": SecretStr("geheim")}), Authorization=given) == 401
