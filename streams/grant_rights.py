"""Brings a Kafka cluster's access list to the table of `streams.kafka_rights`: `spendstream topics grant`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from streams.errors import SpendError, Unreachable
from streams.kafka import admin
from streams.kafka_rights import ROLES, Right, wanted
from streams.settings import Settings

_SECONDS = 15


@dataclass(frozen=True)
class Changes:
    """What a grant changes, or would: lines that were missing, and allowances beyond the table."""

    granted: list[Right]
    withdrawn: list[str]


def grant(settings: Settings, dry_run: bool = False) -> Changes:
    """Give the users of the table their rights, and take from them what else they are allowed.

    Other users, and whatever is denied to anybody, stay as they are. Whoever calls it is Kafka's administrator: none of
    the table's users may change rights.

    Raises:
        SpendError: the cluster keeps no rights, or this user may not change them.
        Unreachable: Kafka does not answer.
    """
    client = admin(settings)  # must live until its futures are done
    table = {_line(right): right for right in wanted()}
    found = {line for role in ROLES for line in _allowed(client, settings, role.user)}
    missing = sorted((line for line in table if line not in found), key=table.__getitem__)
    beyond = sorted(found - table.keys(), key=_text)
    if not dry_run:
        if missing:
            _finish(settings, client.create_acls(missing, request_timeout=_SECONDS).values())
        if beyond:
            filters = [exactly(line) for line in beyond]
            _finish(settings, client.delete_acls(filters, request_timeout=_SECONDS).values())
    return Changes([table[line] for line in missing], [_text(line) for line in beyond])


def _allowed(client: AdminClient, settings: Settings, user: str) -> list[AclBinding]:
    anything = (ResourceType.ANY, None, ResourcePatternType.ANY)
    lines_of = AclBindingFilter(*anything, f"User:{user}", None, AclOperation.ANY, AclPermissionType.ALLOW)  # type: ignore[arg-type]
    [lines] = _finish(settings, [client.describe_acls(lines_of, request_timeout=_SECONDS)])
    return list(lines)


def _finish(settings: Settings, futures: Iterable) -> list:
    try:
        return [future.result() for future in futures]
    except KafkaException as exc:
        error = exc.args[0]
        if error.code() == KafkaError.SECURITY_DISABLED:
            raise SpendError(
                f"Kafka at {settings.kafka_bootstrap_servers} keeps no rights: every broker needs "
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            ) from exc
        if error.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
            raise SpendError(
                f"the Kafka user {settings.kafka_username!r} may not change rights: give SPEND_KAFKA_USERNAME and "
                "SPEND_KAFKA_PASSWORD of Kafka's administrator for this command"
            ) from exc
        raise Unreachable(f"Kafka at {settings.kafka_bootstrap_servers}: {error.str()}") from exc


def _line(right: Right) -> AclBinding:
    return AclBinding(
        ResourceType[right.kind.upper()],
        right.name,
        ResourcePatternType.LITERAL,
        f"User:{right.user}",
        "*",
        AclOperation[right.operation],
        AclPermissionType.ALLOW,
    )


def exactly(line: AclBinding) -> AclBindingFilter:
    """What finds this line and no other."""
    return AclBindingFilter(
        line.restype,
        line.name,
        line.resource_pattern_type,
        line.principal,
        line.host,
        line.operation,
        line.permission_type,
    )


def _text(line: Any) -> str:  # an AclBinding; its stub says of enums that they may be strings
    name = line.name if line.resource_pattern_type == ResourcePatternType.LITERAL else f"{line.name}..."
    return f"{line.principal.removeprefix('User:')}: {line.operation.name} {line.restype.name.lower()} {name}"
