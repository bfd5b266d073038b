"""The panels of what the sink reported: figures are differences between its reports."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import pairwise

from figures.asked import Answer, Asked
from figures.calls import EPOCH, near
from figures.topics import Report

SECOND = timedelta(seconds=1)


def _reports(asked: Asked) -> list[Report]:
    return [each for each in asked.topics.reports if asked.start <= each.at <= asked.end]


def _steps(asked: Asked) -> list[tuple[Report, Report]]:
    """Each report of the range with its partition's report before: at most a minute before the range."""
    found = []
    for partition in {each.partition for each in asked.topics.reports}:
        of_one = [
            each
            for each in asked.topics.reports
            if each.partition == partition and asked.start - 60 * SECOND <= each.at <= asked.end
        ]
        found += [(before, now) for before, now in pairwise(of_one) if now.at >= asked.start]
        found += [(each, each) for each in of_one[:1] if each.at >= asked.start]  # nothing is known of before
    return found


def _letters(steps: Iterable[tuple[Report, Report]]) -> int:
    return sum(sum(now.dead.values()) - sum(before.dead.values()) for before, now in steps)


def _rows(steps: Iterable[tuple[Report, Report]]) -> int:
    return sum(now.rows - before.rows for before, now in steps)


def _repeats(steps: Iterable[tuple[Report, Report]]) -> int:
    return sum(now.repeats - before.repeats for before, now in steps)


def _counts(asked: Asked) -> Answer:
    steps = _steps(asked)
    events = sum(now.done - before.done for before, now in steps)
    return [
        {
            "Events": events,
            "Counted": _rows(steps),
            "Duplicates dropped": _repeats(steps),
            "Dead letters": _letters(steps),
            "Dead letters of all": near(_letters(steps), events),
            "Keys on a wrong partition": 0,
        }
    ][: len(steps)]


def _dead_letters(asked: Asked) -> Answer:
    ever: dict[str, int] = {}
    latest = {each.partition: each for each in sorted(asked.topics.reports, key=lambda each: each.at)}
    for report in latest.values():
        for reason, count in report.dead.items():
            ever[reason] = ever.get(reason, 0) + count
    of_range = {
        reason: sum(now.dead.get(reason, 0) - before.dead.get(reason, 0) for before, now in _steps(asked))
        for reason in ever
    }
    order = sorted(ever, key=lambda reason: (-of_range[reason], -ever[reason], reason))
    return [{"Reason": reason, "In this range": of_range[reason], "Ever": ever[reason]} for reason in order]


def _per_second(
    **columns: Callable[[list[tuple[Report, Report]]], int],
) -> Callable[[Asked], Answer]:
    def figures(asked: Asked) -> Answer:
        by_time: dict[datetime, list[tuple[Report, Report]]] = {}
        for step in _steps(asked):
            by_time.setdefault(asked.stepped(step[1].at), []).append(step)
        seconds = int(asked.step / SECOND)
        return [
            {"time": at, **{name.replace("_", " "): near(sums(by_time[at]), seconds) for name, sums in columns.items()}}
            for at in sorted(by_time)
        ]

    return figures


def _by_time(asked: Asked) -> dict[datetime, list[Report]]:
    found: dict[datetime, list[Report]] = {}
    for report in _reports(asked):
        found.setdefault(asked.stepped(report.at), []).append(report)
    return found


def _waited(asked: Asked, report: Report) -> float:
    """Seconds since the first report that knew of the first event that this one does not count."""
    if report.done >= report.end:
        return 0
    knew = [
        each.at
        for each in asked.topics.reports
        if each.partition == report.partition
        and each.end > report.done
        and asked.start - timedelta(days=1) <= each.at <= asked.end
    ]
    return (report.at - min(knew)) / SECOND


def _lag(asked: Asked) -> Answer:
    def worst(reports: list[Report]) -> int:
        partitions = {each.partition for each in reports}
        return sum(max(each.end - each.done for each in reports if each.partition == one) for one in partitions)

    return [{"time": at, "Events waiting": worst(reports)} for at, reports in sorted(_by_time(asked).items())]


def _lag_seconds(asked: Asked) -> Answer:
    return [
        {"time": at, "The oldest waits": max(_waited(asked, each) for each in reports)}
        for at, reports in sorted(_by_time(asked).items())
    ]


def _watermark(asked: Asked) -> Answer:
    """Whole seconds between the seconds that both lie in."""
    found = []
    for at, reports in sorted(_by_time(asked).items()):
        behind = [(each.at - EPOCH) // SECOND - each.latest_us // 1_000_000 for each in reports if each.done]
        if behind:
            found.append({"time": at, "Behind the clock": max(behind)})
    return found


def _latest(asked: Asked) -> list[Report]:
    latest = {each.partition: each for each in sorted(_reports(asked), key=lambda each: each.at)}
    return [latest[partition] for partition in sorted(latest)]


def _now(asked: Asked) -> Answer:
    latest = _latest(asked)
    return [
        {
            "Events waiting": sum(each.end - each.done for each in latest),
            "The oldest waits": max((_waited(asked, each) for each in latest), default=0),
            "Last report": max((_whole(asked.end) - _whole(each.at) for each in latest), default=0),
            "Partitions": len(latest),
        }
    ][: len(latest)]


def _whole(at: datetime) -> int:
    return (at - EPOCH) // SECOND


def _partitions(asked: Asked) -> Answer:
    return [
        {
            "Partition": each.partition,
            "End of the log": each.end,
            "Counted up to": each.done,
            "Events waiting": each.end - each.done,
            "The oldest waits": _waited(asked, each),
            "Watermark": EPOCH + timedelta(microseconds=each.latest_us) if each.done else None,
            "Last report": each.at,
        }
        for each in _latest(asked)
    ]


def _stalls(asked: Asked) -> Answer:
    """Reports that agree on where a partition stood while events waited, over half a minute at least."""
    stood: dict[tuple[int, int], list[Report]] = {}
    for report in _reports(asked):
        if report.done < report.end:
            stood.setdefault((report.partition, report.done), []).append(report)
    times = {place: (min(each.at for each in found), max(each.at for each in found)) for place, found in stood.items()}
    long = [place for place, (since, until) in times.items() if until - since >= 30 * SECOND]
    return [
        {
            "Partition": partition,
            "Since": (span := times[partition, done])[0],
            "Until": span[1],
            "Seconds": (span[1] - span[0]) // SECOND,
            "Stood at": done,
            "Events waiting": stood[partition, done][0].end - done,
        }
        for partition, done in sorted(long, key=lambda place: (-times[place][0].timestamp(), place[0]))
    ]


FIGURES: dict[str, Callable[[Asked], Answer]] = {
    "pipeline_now": _now,
    "pipeline_events": _per_second(Counted=_rows, Duplicates_dropped=_repeats, Dead_letters=_letters),
    "pipeline_inserts": _per_second(
        Rows=_rows, Blocks=lambda steps: sum(now.blocks - before.blocks for before, now in steps)
    ),
    "pipeline_lag": _lag,
    "pipeline_lag_seconds": _lag_seconds,
    "pipeline_watermark": _watermark,
    "pipeline_partitions": _partitions,
    "pipeline_stalls": _stalls,
    "pipeline_counts": _counts,
    "pipeline_dead_letters": _dead_letters,
}
