"""The panels of the pipeline's health: of the sink's reports what they say, of the calls what the oracle says."""

from collections.abc import Callable
from datetime import timedelta

from figures import reports
from figures.asked import Answer, Asked, Chosen
from figures.budgets import told
from figures.calls import EPOCH, Call, Near, grouped, near, tokens
from figures.topics import moment

_CAME = ("within 10 s", "within a minute", "within 5 minutes", "within an hour", "within a day", "later")
_EDGES = (10, 60, 300, 3_600, 86_400)


def _ended(asked: Asked) -> list[Call]:
    return [call for call in asked.calls if asked.start <= call.at <= asked.end]


def _seconds_late(call: Call) -> int:
    return call.recorded_us // 1_000_000 - call.event["time"] // 1_000_000


def _late(asked: Asked) -> Answer:
    ended = _ended(asked)
    stretches = grouped(ended, lambda call: sum(_seconds_late(call) >= edge for edge in _EDGES))
    return [
        {"Came": _CAME[n], "Calls": len(stretches[n]), "Share": near(len(stretches[n]), len(ended))}
        for n in sorted(stretches)
    ]


def _late_over_time(asked: Asked) -> Answer:
    steps = grouped(_ended(asked), lambda call: asked.stepped(call.at))
    return [
        {
            "time": at,
            "Over a minute late": sum(60 <= _seconds_late(call) < 3_600 for call in steps[at]),
            "Over an hour late": sum(_seconds_late(call) >= 3_600 for call in steps[at]),
        }
        for at in sorted(steps)
    ]


def _quantile(values: list[int], hundredths: int) -> Near | None:
    """Between the two values around its place, milliseconds as seconds."""
    ordered = sorted(values)
    place, rest = divmod((len(ordered) - 1) * hundredths, 100)
    above = ordered[min(place + 1, len(ordered) - 1)]
    return near(ordered[place] * 100 + (above - ordered[place]) * rest, 100_000, places=6)


def _freshness(asked: Asked) -> Answer:
    """When a row came only the table knows: the times are its, the quantiles are not."""

    def milliseconds(call: Call) -> int:
        came = asked.topics.inserted[call.partition, call.offset]
        return (came - EPOCH) // timedelta(milliseconds=1) - call.recorded_us // 1_000

    steps = grouped(_ended(asked), lambda call: asked.stepped(call.at))
    found = []
    for at in sorted(steps):
        took = [milliseconds(call) for call in steps[at]]
        found.append(
            {"time": at, "Half of the calls within": _quantile(took, 50), "99 of 100 within": _quantile(took, 99)}
        )
    return found


def _unpriced(asked: Asked) -> Answer:
    calls = [call for call in asked.within() if call.unpriced or call.partial]
    models = grouped(calls, lambda call: (call.member("provider"), call.model))
    rows = [
        {
            "Provider": provider,
            "Model": model,
            "Without a price": sum(call.unpriced for call in mine),
            "With a part of it": sum(call.partial for call in mine),
            "Tokens": tokens(mine),
            "Latest quarter of an hour": max(call.quarter for call in mine),
        }
        for (provider, model), mine in models.items()
    ]
    return sorted(
        rows,
        key=lambda row: (-row["Without a price"], -row["With a part of it"], row["Provider"], row["Model"]),
    )


def _what_the_stream_told(asked: Asked) -> Answer:
    return [
        {
            "Time": moment(alert["time"]),
            **{name: alert["data"][key] for name, key in (("Severity", "severity"), ("Alert", "title"),
                                                         ("Text", "text"), ("Incident", "incident"))},
        }
        for alert in told(asked)
        if alert["type"] in ("spend.pipeline.stalled", "spend.model.unpriced")
    ]  # fmt: skip


FIGURES: dict[str, Callable[[Asked], Answer]] = {
    **reports.FIGURES,
    "pipeline_freshness": _freshness,
    "pipeline_unpriced": _unpriced,
    "pipeline_late": _late,
    "pipeline_late_over_time": _late_over_time,
    "pipeline_stall_alerts": _what_the_stream_told,
}
CASES: dict[str, tuple[Chosen, ...]] = dict.fromkeys(FIGURES, ({},))
