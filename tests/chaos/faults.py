"""What can happen to a running pipeline: each fault is brought about for real, and what it broke runs again."""

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from pipeline import DISK_BYTES, Pipeline, disk
from traffic import database

KINDS = ("worker", "windows", "sink")
VIEWS = ("usage_15m_view", "members_15m_view")

Fault = Callable[[Pipeline], str]


def kill(pipeline: Pipeline) -> str:
    """SIGKILL one or two parts at the same moment, whatever they do."""
    names = pipeline.least_killed(2 if pipeline.rng.random() < 0.3 else 1)
    for name in names:
        pipeline.kill(name)
    time.sleep(pipeline.rng.uniform(0.0, 0.5))
    pipeline.begin(*names)
    return f"kill {' and '.join(names)}"


def zombie(pipeline: Pipeline) -> str:
    """SIGSTOP a process of each kind until the others have taken over and gone on; they wake up during later faults."""
    pipeline.sleep_out()
    names = [pipeline.rng.choice((kind, f"{kind}-2")) for kind in KINDS]
    for name in names:
        pipeline.pause(name)
    return f"pause {', '.join(names)} for {pipeline.pause_seconds:g} s"


def hang(pipeline: Pipeline) -> str:
    """SIGSTOP a server: its ports are open, nothing answers."""
    name = pipeline.rng.choice(pipeline.servers)
    seconds = pipeline.rng.uniform(2.0, 8.0)
    pipeline.stack.pause(name)
    time.sleep(seconds)
    pipeline.stack.resume(name)
    return f"{name} hangs for {seconds:.1f} s"


def roll(pipeline: Pipeline) -> str:
    """SIGTERM a process and start it again, as a deployment does: partitions are handed over twice."""
    name = pipeline.rng.choice([name for name in pipeline.processes if name not in pipeline.paused])
    pipeline.stack.stop(name)
    pipeline.begin(name)
    return f"restart {name}"


def flap(pipeline: Pipeline) -> str:
    """One more process of each kind that comes and goes: a rebalance every few seconds."""
    more = [f"{kind}-9" for kind in KINDS]
    for _ in range(3):
        pipeline.begin(*more)
        time.sleep(pipeline.rng.uniform(0.5, 2.0))
        for name in more:
            pipeline.stack.stop(name)
    return "one more process of each kind comes and goes three times"


def cut_kafka(pipeline: Pipeline) -> str:
    """Every connection to the brokers is cut."""
    servers = pipeline.stack.settings.kafka_bootstrap_servers.split(",")
    count = 0
    for _ in range(3):
        count += sum(cut(int(server.rpartition(":")[2])) for server in servers)
        time.sleep(pipeline.rng.uniform(0.1, 0.7))
    assert count > 0, "ss cut nothing"
    return f"cut all connections to Kafka, three times: {count}"


def cut_clickhouse(pipeline: Pipeline) -> str:
    """Every connection to ClickHouse is cut, in the middle of inserts."""
    count = times = 0
    while times < 5 or (count == 0 and times < 100):
        count += cut(urlsplit(pipeline.stack.settings.clickhouse_url).port or 0)
        times += 1
        time.sleep(pipeline.rng.uniform(0.05, 0.4))
    assert count > 0, "ss cut nothing"
    return f"cut all connections to ClickHouse, {times} times: {count}"


def cut(port: int) -> int:
    """Cut what is connected to a port of this machine, as a firewall or a network would: both ends see a reset.

    Returns how many connections that were.
    """
    command = ["ss", "-H", "-K", "dst", "127.0.0.1", "dport", "=", f":{port}"]
    return len(subprocess.run(command, capture_output=True, check=True).stdout.splitlines())


def fill_disk(pipeline: Pipeline) -> str:
    """The disk of a broker is full for some seconds; it does not come back from that by itself.

    ClickHouse's is left alone: a merge on a full disk may end with a part whose files are empty (26.9), and rows of
    logs that are gone would be lost for good: docs/operations.md, "A disk is full".
    """
    name = pipeline.rng.choice([name for name in pipeline.servers if name != "clickhouse"])
    ballast = disk(pipeline.stack.settings, name) / "ballast"
    seconds = pipeline.rng.uniform(3.0, 8.0)
    with ballast.open("wb") as file, suppress(OSError):  # others take the last pages
        while (room := shutil.disk_usage(ballast.parent).free - 4096) > 0:
            file.write(bytes(min(room, 1 << 20)))
            file.flush()
    assert shutil.disk_usage(ballast.parent).free < DISK_BYTES // 100, "the disk is not full"
    time.sleep(seconds)
    ballast.unlink()
    pipeline.kill(name)  # it has given up its log, or itself
    pipeline.begin(name)
    return f"the disk of {name} is full for {seconds:.1f} s"


def replace_views(pipeline: Pipeline) -> str:
    """The views of the rollups are dropped and made again under their names while no sink inserts."""
    pipeline.sleep_out("sink")  # who is paused in an insert would wake up and insert without the view
    sinks = [name for name in pipeline.processes if name.startswith("sink")]
    for name in sinks:
        pipeline.kill(name)
    with database(pipeline.stack.settings) as query:
        for view in VIEWS:
            [[definition]] = query(
                "SELECT create_table_query FROM system.tables "
                "WHERE database = currentDatabase() AND name = {name:String}",
                name=view,
            )
            query(f"DROP TABLE {view} SYNC")
            query(definition)
    pipeline.begin(*sinks)
    return f"replace {' and '.join(VIEWS)} behind killed sinks"


def step_clocks(pipeline: Pipeline) -> str:
    """The clocks of all processes jump, each its own way, by up to two days, and stay wrong."""
    steps = {name: pipeline.rng.choice((-172_800, -7_200, -600, 600, 7_200, 172_800)) for name in pipeline.processes}
    for name, seconds in steps.items():
        pipeline.set_clock(name, seconds)
    return "clocks: " + ", ".join(f"{name} {seconds:+d} s" for name, seconds in steps.items())


def idle(pipeline: Pipeline) -> str:
    """Nothing comes for one partition during the next faults; what was meant for it comes later, all at once."""
    number = pipeline.rng.randrange(pipeline.stack.settings.partitions)
    pipeline.traffic.hold(number)
    return f"nothing for partition {number}; what was held back comes now"


def change_schema(pipeline: Pipeline) -> str:
    """Producers change to another schema, or back: events, and repeats of earlier ones, are written with it."""
    return f"events are written with {pipeline.traffic.change_schema()}"


FAULTS: tuple[Fault, ...] = (
    *(zombie, hang, roll, flap, cut_kafka, cut_clickhouse, fill_disk, replace_views, step_clocks, idle, change_schema),
)
