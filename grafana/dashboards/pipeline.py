"""Health of the pipeline: whether events are counted, how fast, and what was put aside."""

from grafana.dashboard import Dashboard
from grafana.panels import Field, Panel, Row
from grafana.shows import Series, Stat, Table

_NO_REPORTS = "No sink has reported in this range"
_REPORTS = "Reported by the sink every 5 seconds and kept for 30 days."

NOW = Panel(
    "pipeline_now",
    "Where it is",
    "As of the range's end: events of the log that are not in ClickHouse yet; for how long the oldest of them has "
    f"been waiting; how long ago the slowest partition was reported on. {_REPORTS}",
    _NO_REPORTS,
    Stat(coloured=True),
    width=24,
    height=4,
    fields=(
        Field("The oldest waits", unit="s", decimals=0, steps=((None, "green"), (60, "yellow"), (300, "red"))),
        Field("Last report", unit="s", decimals=0, steps=((None, "green"), (60, "yellow"), (300, "red"))),
    ),
)
EVENTS = Panel(
    "pipeline_events",
    "Events a second",
    "Events that were decided: counted, dropped as repeats of ones that were counted before, or put aside as dead "
    f"letters. {_REPORTS}",
    _NO_REPORTS,
    Series(stacked=True, fill=40),
    unit="eps",
    decimals=1,
    interval="10s",
    fields=(
        Field("Counted", colour="green"),
        Field("Duplicates dropped", colour="blue"),
        Field("Dead letters", colour="red"),
    ),
)
INSERTS = Panel(
    "pipeline_inserts",
    "Inserts a second",
    f"Rows that ClickHouse acknowledged, and blocks: one insert each. {_REPORTS}",
    _NO_REPORTS,
    Series(),
    unit="cps",
    decimals=1,
    interval="10s",
)
LAG = Panel(
    "pipeline_lag",
    "Lag in events",
    "Events of the log that were not in ClickHouse yet, all partitions together, each at its worst of the step. "
    f"{_REPORTS}",
    _NO_REPORTS,
    Series(legend=False),
    decimals=0,
    interval="10s",
)
LAG_SECONDS = Panel(
    "pipeline_lag_seconds",
    "Lag in seconds",
    "For how long the oldest event that was not in ClickHouse yet had been waiting, at the worst of the step; 0 when"
    f" none waited. Known to the 5 seconds between two reports. {_REPORTS}",
    _NO_REPORTS,
    Series(legend=False),
    unit="s",
    interval="10s",
)
WATERMARK = Panel(
    "pipeline_watermark",
    "Watermark behind the clock",
    "How far the latest event time that was counted is behind the clock, of the partition furthest behind. With no "
    f"lag, the producers are late, or send nothing. {_REPORTS}",
    _NO_REPORTS,
    Series(legend=False),
    unit="s",
    interval="10s",
)
FRESHNESS = Panel(
    "pipeline_freshness",
    "From the log to the table",
    "Seconds from an event's arrival in Kafka to its row in ClickHouse, of the calls that ended in the range; read "
    "from the raw rows.",
    "No calls in this range",
    Series(),
    unit="s",
    decimals=2,
    interval="1m",
)
PARTITIONS = Panel(
    "pipeline_partitions",
    "Partitions",
    f"The latest report on each partition. Watermark: the latest event time that was counted. {_REPORTS}",
    _NO_REPORTS,
    Table(),
    fields=(Field("The oldest waits", unit="s", decimals=0, steps=((None, "green"), (60, "yellow"), (300, "red"))),),
)
STALLS = Panel(
    "pipeline_stalls",
    "Stalls",
    "Stretches of half a minute and more in which events waited on a partition and none was counted.",
    "No stalls in this range",
    Table(),
    fields=(Field("Seconds", unit="s", decimals=0),),
)
COUNTS = Panel(
    "pipeline_counts",
    "What became of the events",
    "Of the range. Keys on a wrong partition: repeats of such events are not recognised; the producer must key by "
    f"source:id. {_REPORTS}",
    _NO_REPORTS,
    Stat(),
    width=24,
    height=4,
    fields=(Field("Dead letters of all", unit="percentunit", decimals=2),),
)
DEAD_LETTERS = Panel(
    "pipeline_dead_letters",
    "Dead letters by reason",
    "Records that could not be counted, within the range (as reported) and of everything that the sinks have inserted. "
    "`spendstream dead-letters list` shows them.",
    "No dead letters",
    Table(),
    fields=(Field("In this range", steps=((None, "text"), (1, "red"))),),
)
UNPRICED = Panel(
    "pipeline_unpriced",
    "Models without a price",
    "Calls that are counted without a cost, or with a part of it. `spendstream rates explain` says why, `spendstream"
    " rates set` mends it.",
    "Every call has a price",
    Table(),
)
LATE = Panel(
    "pipeline_late",
    "Late events",
    "How long after its end each call of the range came to the log. Late calls are counted in the time they belong "
    "to. Read from the raw rows.",
    "No calls in this range",
    Table(),
    fields=(Field("Share", unit="percentunit", decimals=2, bar=True, maximum=1),),
)
LATE_OVER_TIME = Panel(
    "pipeline_late_over_time",
    "Late events over time",
    "Calls that came to the log over a minute, and over an hour, after their end, by when they ended. Read from the "
    "raw rows.",
    "No calls in this range",
    Series(bars=True, stacked=True),
    decimals=0,
    interval="1m",
)
TOLD = Panel(
    "pipeline_stall_alerts",
    "What the stream told",
    "Alerts of partitions that stand still and of models without a price.",
    "No such alerts in this range",
    Table(),
    width=24,
    height=7,
)

DASHBOARD = Dashboard(
    "spend-pipeline",
    "Pipeline health",
    "Whether events are counted, how fast, and what was put aside.",
    (
        Row("Is it going?"),
        NOW,
        EVENTS,
        INSERTS,
        LAG,
        LAG_SECONDS,
        WATERMARK,
        FRESHNESS,
        PARTITIONS,
        STALLS,
        Row("What became of the events"),
        COUNTS,
        DEAD_LETTERS,
        UNPRICED,
        LATE,
        LATE_OVER_TIME,
        Row("Alerts"),
        TOLD,
    ),
    start="now-6h",
    refresh="30s",
)
