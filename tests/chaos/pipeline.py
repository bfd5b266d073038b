"""The pipeline under fire: two of each process over real servers; who was killed, is paused, has a wrong clock."""

import random
import shutil
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from traffic import HERE, Traffic, said, spawn, until

from streams import apache_kafka, embedded
from streams.embedded import answers
from streams.errors import Halt, SpendError, Unreachable
from streams.settings import Settings
from streams.supervisor import SERVERS, STEPS, Stack

PROCESSES = ("worker", "worker-2", "windows", "windows-2", "sink", "sink-2")
DISK_BYTES = 1 << 30
READY_SECONDS = 240.0
WOKEN_SECONDS = 90.0  # in which a process may end that was paused: a request of before has timed out


class Pipeline:
    """Brokers on disks of their own, empty at first; two of each process, each with a clock of its own.

    Attributes:
        killed: how often each part was killed.
        paused: processes that stand still, and when (`time.monotonic`) they wake up.
        stood_still: how many processes of each kind did so for the whole of `pause_seconds`.
        notes: what ended by itself and was started again.
    """

    def __init__(self, settings: Settings, rng: random.Random, traffic: Traffic, pause_seconds: float) -> None:
        self.rng, self.traffic, self.pause_seconds = rng, traffic, pause_seconds
        self.stack = Stack(settings, parts=(*SERVERS, *STEPS))
        self.processes = PROCESSES
        brokers = apache_kafka.names(settings) if settings.broker == "kafka" else []
        self.servers = ("clickhouse", *brokers)  # the embedded broker would forget everything
        self.killed = dict.fromkeys((*self.processes, *self.servers), 0)
        self.paused: dict[str, float] = {}
        self.stood_still: Counter[str] = Counter()
        self.notes: list[str] = []
        self._woken: dict[str, float] = {}  # and when
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for name in self.servers:
                if name != "clickhouse":
                    undo.enter_context(mounted(disk(self.stack.settings, name)))
            undo.enter_context(self.stack)
            build_clock(self._clock("clock.so"))
            self.begin(*self.processes)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for name in self.processes:  # what they did is proven by now; without brokers they would take their time
                with suppress(SpendError):  # it does not run
                    self.stack.kill(name)
        finally:
            self._undo.close()

    def begin(self, *names: str) -> None:
        """Start parts, servers first and the processes side by side, and wait until all are ready."""
        for name in names:
            if name in self.servers:
                self.stack.start(name)
        ready = {name: self._spawn(name) for name in names if name not in self.servers}
        for name, url in ready.items():
            is_up = lambda url=url, name=name: answers(url) or self.ended(name)  # noqa: E731
            until(is_up, f"{name} to be ready", READY_SECONDS)

    def _spawn(self, name: str) -> str:
        """Start a process with its clock; the address that says when it is ready."""
        if not self._clock(name).exists():
            self.set_clock(name, 0)
        clock = {"LD_PRELOAD": self._clock("clock.so"), "CHAOS_CLOCK": self._clock(name)}
        script = (str(HERE / "crash_at.py"), "checkpoints-often", name.partition("-")[0])
        return f"http://127.0.0.1:{spawn(self.stack, name, *script, **clock)}/ready"

    def kill(self, name: str) -> None:
        """SIGKILL a part."""
        self.stack.kill(name)
        self.killed[name] += 1
        self._woken.pop(name, None)

    def least_killed(self, count: int) -> Sequence[str]:
        """Parts whose turn it is to be killed, none that stands still, and brokers one at a time: of three, two are
        needed."""
        names: list[str] = []
        awake = [part for part in self.killed if part not in self.paused]
        for name in sorted(awake, key=lambda part: (self.killed[part], self.rng.random())):
            if len(names) < count and not (name.startswith("broker") and any(n.startswith("broker") for n in names)):
                names.append(name)
        return names

    def pause(self, name: str) -> None:
        """SIGSTOP a process for `pause_seconds`; `tend` wakes it."""
        self.stack.pause(name)
        self.paused[name] = time.monotonic() + self.pause_seconds

    def sleep_out(self, kind: str = "") -> None:
        """Wait until nobody of a kind, or nobody at all, stands still."""
        while any(name.startswith(kind) for name in self.paused):
            time.sleep(0.2)
            self.tend()

    def tend(self) -> None:
        """Wake who has been paused for long enough; start those again that ended, as whatever runs them would.

        A process may halt when it wakes up, and end when a server does not answer for longer than it waits.

        Raises:
            AssertionError: a process ended by itself for another reason.
        """
        for name, due in list(self.paused.items()):
            if due <= time.monotonic():
                self.stack.resume(name)
                del self.paused[name]
                self.stood_still[name.partition("-")[0]] += 1
                self._woken[name] = time.monotonic()
        ended = [name for name in self.processes if self.ended(name)]
        for name in ended:
            log = said(self.stack, name).strip()
            code = self.stack.exit_code(name)
            woke_up = time.monotonic() - self._woken.get(name, -WOKEN_SECONDS) < WOKEN_SECONDS
            allowed = {Unreachable.exit_code, Halt.exit_code} if woke_up else {Unreachable.exit_code}
            assert code in allowed, f"{name} ended with {code}: {log[-3000:]}"
            self.notes.append(f"{name} ended with {code}: {log.splitlines()[-1][:200]}")
            self.stack.kill(name)
            self._woken.pop(name, None)
        self.begin(*ended)

    def ended(self, name: str) -> bool:
        """Whether a part has ended by itself."""
        return self.stack.exit_code(name) is not None  # its first thread may be gone before the others

    def set_clock(self, name: str, seconds: int) -> None:
        """Set a process's clock wrong by so many seconds."""
        with self._clock(name).open("r+b" if self._clock(name).exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def _clock(self, name: str) -> Path:
        return self.stack.settings.state_dir / "clocks" / name


def build_clock(library: Path) -> None:
    """Make the library that gives a process a clock of its own. Needs a C compiler."""
    library.parent.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("cc") or "cc"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "clock.c"), "-ldl"], check=True)


def disk(settings: Settings, name: str) -> Path:
    """The folder of a server's files."""
    return embedded.database_path(settings) if name == "clickhouse" else apache_kafka.folder(settings, name)


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """An empty disk of its own for a folder, in memory; at the end it is taken away with all that is on it."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_mount():  # of a run that was killed
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "chaos", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
