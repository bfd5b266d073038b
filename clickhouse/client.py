"""The one client of ClickHouse, embedded or not: clickhouse-connect over HTTP."""

from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import SecretStr

from clickhouse.replicas import WRITE_SETTINGS
from streams.errors import SpendError, Unreachable
from streams.settings import Settings


def connect(settings: Settings, seconds: int | None = None) -> Client:
    """A client of SPEND_CLICKHOUSE_URL. Without a session, so that several threads may query side by side.

    No database is chosen: statements name `spend.usage`, and migrations must run before the database exists.

    Args:
        settings: where ClickHouse is, and the user.
        seconds: give up a question after them, and ask it only once; None: as patient as clickhouse-connect is.

    Raises:
        SpendError: SPEND_CLICKHOUSE_URL is not an http or https address.
        Unreachable: nothing answers there, or the user is refused.
    """
    return _connect(settings, "CLICKHOUSE", settings.clickhouse_user, settings.clickhouse_password, seconds)


def connect_reader(settings: Settings, seconds: int) -> Client:
    """A client as the user who may only read, in the database of all tables. Arguments and errors are `connect`'s."""
    client = _connect(settings, "READER", settings.reader_user, settings.reader_password, seconds)
    client.database = settings.clickhouse_database
    return client


def _connect(settings: Settings, kind: str, user: str, password: SecretStr, seconds: int | None) -> Client:
    url = urlsplit(settings.clickhouse_url)
    try:
        port = url.port
    except ValueError as error:
        raise SpendError("SPEND_CLICKHOUSE_URL: its port is not a number") from error
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.password:
        raise SpendError(
            "SPEND_CLICKHOUSE_URL must look like http://host:8123, without a user: "
            "that is SPEND_CLICKHOUSE_USER and SPEND_CLICKHOUSE_PASSWORD"
        )
    place = f"{url.scheme}://{url.hostname}:{port or (8443 if url.scheme == 'https' else 8123)}"
    try:
        return clickhouse_connect.get_client(
            host=url.hostname,
            port=port or 0,
            interface=url.scheme,
            username=user,
            password=password.get_secret_value(),
            proxy_path=url.path.strip("/"),
            autogenerate_session_id=False,
            client_name="spendstream",
            connect_timeout=seconds or 10,
            send_receive_timeout=seconds or 300,
            query_retries=0 if seconds else 2,
            settings=WRITE_SETTINGS if settings.clickhouse_cluster else None,
            ca_cert=str(settings.clickhouse_ca_file) if settings.clickhouse_ca_file else None,
        )
    except ClickHouseError as error:
        if getattr(error, "code", None) in (192, 193, 194, 516):
            raise Unreachable(
                f"ClickHouse at {place} refuses the user {user!r}: set SPEND_{kind}_USER and SPEND_{kind}_PASSWORD"
            ) from None
        raise Unreachable(f"ClickHouse does not answer at {place}: start it, or set SPEND_CLICKHOUSE_URL") from None
