"""What the relay itself has to say on a channel, in the form of an alert: a summary of a storm, a test. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from streams.spend.alert_document import SEVERITIES, Alert, Instant, Severity, envelope
from streams.spend.alert_text import counted
from streams.spend.dimensions import GLOBAL

SOURCE = "/spendstream/relay"
_TITLES = 10
_IDS = 1_000


def summary(channel: str, held: Sequence[Alert], at: Instant) -> Alert:
    """One notice for alerts that were held back beyond the channel's limit, oldest first. Its id is a function of the
    channel and the first of them.

    Raises:
        ValueError: there is none.
    """
    if not held:
        raise ValueError("a summary tells of one alert at least")
    by_severity = Counter(str(alert.document["data"]["severity"]) for alert in held)
    gravest = [severity for severity in reversed(SEVERITIES) if by_severity[severity]]
    told = sorted(held, key=lambda alert: -SEVERITIES.index(alert.document["data"]["severity"]))[:_TITLES]
    titles = [f"- {alert.document['data']['title']}" for alert in told]
    if len(held) > len(titles):
        titles.append(f"- and {len(held) - len(titles):,} more")
    split = ", ".join(f"{by_severity[severity]:,} {severity}" for severity in gravest)
    return _notice(
        "summary",
        channel,
        at,
        name=held[0].id,
        severity=gravest[0],
        title=f"{counted(len(held), 'more alert')} held back: {split}",
        text="\n".join([*titles, "`spendstream alerts list` shows all of them."]),
        held_back=len(held),
        alert_ids=[alert.id for alert in held[:_IDS]],
    )


def test(channel: str, at: Instant, number: str) -> Alert:
    """A test of a channel. `number` tells this one from others."""
    title = f"Test of the channel {channel}"
    text = "spendstream can reach this channel; alerts will come here."
    return _notice("test", channel, at, name=number, severity="info", title=title, text=text)


def _notice(
    what: str, channel: str, at: Instant, *, name: str, severity: Severity, title: str, text: str, **fields: Any
) -> Alert:
    id = f"{what}/{channel}/{name}"
    data = {
        "incident": id,
        "change": "opened",
        "severity": severity,
        "title": title,
        "text": text,
        "dimension": GLOBAL,
        "member": "",
        "channel": channel,
        **fields,
    }
    document = envelope(SOURCE, type=f"spend.relay.{what}", id=id, subject=f"channel/{channel}", time=at, data=data)
    return Alert(id, document)
