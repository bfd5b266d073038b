"""Who may ask the embedded server, and who may only read."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message

from clickhouse.embedded_engine import EngineError


@dataclass(frozen=True)
class User:
    """A user by name. Without a password, any password is wrong but the empty one."""

    name: str
    password: str = ""
    reads_only: bool = False


def authenticate(users: Mapping[str, User], headers: Message, query: Mapping[str, str]) -> User:
    """The user of a request: from X-ClickHouse-User and -Key, Basic authorization or the URL, in ClickHouse's order.

    Raises:
        EngineError: 516, as ClickHouse says it, without saying which of name and password was wrong.
    """
    authorization = headers.get("Authorization", "")
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        name, password = headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
    elif authorization.lower().startswith("basic "):
        try:
            pair = base64.b64decode(authorization[6:], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        name, _, password = pair.partition(":")
    else:
        name, password = query.get("user", "default"), query.get("password", "")
    user = users.get(name)
    if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
        raise EngineError(
            516,
            f"Code: 516. DB::Exception: {name}: Authentication failed: password is incorrect, "
            "or there is no user with such name. (AUTHENTICATION_FAILED)",
        )
    return user
