"""Runs the stack on one machine: starts the parts in order, waits for each, watches them, stops them in reverse.

Nothing is restarted silently: when a part ends by itself, `wait` raises and says which and why, and leaving the stack
stops the rest. No process stays behind, even when the supervisor itself is killed (`streams.child`).
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from streams import apache_kafka, child, embedded
from streams.embedded import Address, Server
from streams.errors import SpendError
from streams.ports import free_port
from streams.settings import Settings

SERVERS = ("broker", "clickhouse")
STEPS = {"topics": ("topics", "create"), "migrate": ("migrate", "up")}  # commands that run to their end, once
RESTORES = {"restore": ("topics", "restore")}  # commands that need what the steps made; beside the processes
PROCESSES = ("worker", "windows", "sink")
RELAY = "relay"  # a process too, for whoever has set SPEND_RELAY_FILE
PREVIEW = "preview"  # and one for whoever looks
EVERYTHING = (*SERVERS, *STEPS, *RESTORES, *PROCESSES)

_READY_SECONDS = 90.0
_STOP_SECONDS = 25.0
_TAIL_LINES = 15
_LOG_BYTES = 32 << 20  # a longer log is put aside when its part starts


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    log: Path


class Stack:
    """The parts of the pipeline as child processes, for `spendstream up`, the demo and the tests.

    >>> with Stack(on_free_ports(Settings(state_dir=tmp_path))) as stack:     # broker, clickhouse, topics, migrate, ...
    ...     stack.settings.clickhouse_url          # where things listen; give these settings to your own code
    ...     stack.run("report", "--json")          # `spendstream report --json` against this stack: its output
    ...     stack.kill("worker")                   # SIGKILL; also stop (SIGTERM, patient), pause and resume
    ...     stack.start("worker")                  # returns when it is ready; "topics" and "migrate" run to their end
    ...     stack.start("worker-2")                # one more worker, with a port and a state folder of its own
    ...     stack.wait(seconds=5)                  # raises when a part ended by itself

    `parts` chooses what entering starts: `Stack(settings, parts=SERVERS)` is broker and database alone. What was not
    started then can be started later. `env` holds the variables for processes of one's own.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        parts: Sequence[str] = EVERYTHING,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`tell` is given a line about each thing that starts or stops."""
        self.settings = settings.model_copy(update={"state_dir": settings.state_dir.absolute()})
        self._parts = tuple(parts)
        self._tell = tell
        self._running: dict[str, _Running] = {}
        self._spawner = child.Spawner()
        self._kafka: apache_kafka.Cluster | None = None

    @property
    def env(self) -> dict[str, str]:
        """The environment of the stack's processes: this one's, with SPEND_* from the settings alone."""
        return child.environment(self.settings)

    def __enter__(self) -> "Stack":
        # Three waves: servers, steps that need them, processes that need those. Within one, all come up side by side.
        waves: tuple[list[str], ...] = ([], [], [])
        restores = [RESTORES[name] for name in self._parts if name in RESTORES]
        brokers = apache_kafka.names(self.settings) if self.settings.broker == "kafka" else ["broker"]
        for name in [each for part in self._parts for each in (brokers if part == "broker" else [part])]:
            if name not in RESTORES:
                waves[0 if name in (*SERVERS, *brokers) else 1 if name in STEPS else 2].append(name)
        try:
            servers = {name: self._server(name) for name in (*waves[0], *waves[2])}
            for server in servers.values():
                embedded.require_free(server.address)
            self._begin(waves[0], servers)
            self._run_beside([STEPS[name] for name in waves[1]])
            self._run_beside(restores, lambda: self._begin(waves[2], servers))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, name: str) -> None:
        """Start a part and wait until it is ready; run a step to its end.

        Raises:
            SpendError: it ended or was not ready in time; the message has the end of its log.
        """
        if name in STEPS or name in RESTORES:
            self.run(*(STEPS | RESTORES)[name])
            return
        if name in self._running:
            raise SpendError(f"{name} runs already")
        server = self._server(name)
        embedded.require_free(server.address)
        self._begin([name], {name: server}, alone=True)

    def spawn(self, name: str, *command: str) -> None:
        """Start a process of the caller's beside the parts; it is watched and stopped like them."""
        self._spawn(name, list(command), {})

    def run(self, *arguments: str, input: bytes | None = None) -> str:
        """Run `spendstream <arguments>` against this stack to its end and return what it printed.

        Raises:
            SpendError: it failed; the message is what it said.
        """
        return self._finish(arguments, self._command(arguments), input)

    def pid(self, name: str) -> int:
        """The process id of a running part."""
        return self._get(name).process.pid

    def kill(self, name: str) -> None:
        """SIGKILL a part, as a crash would; returns when it is gone."""
        self._signal(name, signal.SIGKILL)
        self._running.pop(name).process.wait()

    def stop(self, name: str) -> None:
        """SIGTERM a part and wait for its end; SIGKILL when that takes too long."""
        running = self._get(name)
        self._tell(f"stopping {name}")
        self._signal(name, signal.SIGCONT)  # a paused one could not stop
        self._signal(name, signal.SIGTERM)
        try:
            running.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._tell(f"{name} did not stop within {_STOP_SECONDS:.0f} s and was killed")
        self.kill(name)  # whatever its process group still holds

    def pause(self, name: str) -> None:
        """SIGSTOP a part: it is there and does nothing."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT a paused part."""
        self._signal(name, signal.SIGCONT)

    def check(self, *names: str) -> None:
        """Raise when a part ended by itself: any, or one of `names`.

        Raises:
            SpendError: names the part, how it ended and the end of its log.
        """
        for name in names or self._running:
            if self.exit_code(name) is not None:
                raise self._ended(name)

    def exit_code(self, name: str) -> int | None:
        """The code with which a part ended by itself, less than 0 for a signal; None while it runs."""
        return self._get(name).process.poll()

    def wait(self, seconds: float | None = None) -> None:
        """Watch the parts for so long, or for ever.

        Raises:
            SpendError: a part ended by itself, see `check`.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            self.check()
            time.sleep(0.2)

    def log(self, name: str) -> Path:
        """The file with a part's output."""
        return self.settings.state_dir / "logs" / f"{name}.log"

    def close(self) -> None:
        """Stop what runs, the last started first; servers after all that need them, though one was started anew."""
        servers = {*SERVERS, *apache_kafka.names(self.settings)}
        for name in sorted(reversed(self._running), key=servers.__contains__):
            if self._running[name].process.poll() is None:
                self.stop(name)
            else:
                self.kill(name)
        self._spawner.close()

    def _server(self, name: str) -> Server:
        if self.settings.broker == "kafka" and name in apache_kafka.names(self.settings):
            self._kafka = self._kafka or apache_kafka.Cluster(self.settings)
            return self._kafka.server(name)
        if name == "broker":
            return embedded.broker(self.settings)
        if name == "clickhouse":
            return embedded.database(self.settings)
        if name == PREVIEW:
            address = Address("127.0.0.1", self.settings.preview_port, "SPEND_PREVIEW_PORT")
            return _process(name, address, {})
        kind, _, number = name.partition("-")
        if kind not in (*PROCESSES, RELAY):
            raise SpendError(f"There is no part {name!r}: {', '.join(EVERYTHING)}")
        setting = f"{kind}_web_port"
        port = free_port() if number else getattr(self.settings, setting)
        address = Address(self.settings.web_host, port, f"SPEND_{setting.upper()}")
        # its frames are small: on two cores, handing them to threads costs a fifth more than it saves
        environment = {"POLARS_MAX_THREADS": "1"} if kind == "windows" else {}
        if number:
            environment |= {address.setting: str(port), "SPEND_STATE_DIR": str(self.settings.state_dir / name)}
        return _process(kind, address, environment)

    def _begin(self, names: Sequence[str], servers: dict[str, Server], alone: bool = False) -> None:
        """Start parts and wait until all are ready; `alone`: whatever becomes of the others."""
        watched = names if alone else ()
        for name in names:
            self._tell(f"starting {name}")
            self._spawn(name, servers[name].command, servers[name].environment)
        give_up = time.monotonic() + _READY_SECONDS
        for name in names:
            while not servers[name].ready():
                self.check(*watched)
                if time.monotonic() > give_up:
                    log = self._running[name].log
                    raise SpendError(f"{name} is not ready after {_READY_SECONDS:.0f} s{_tail(log)}")
                time.sleep(0.05)
        self.check(*watched)  # something else may have answered at its address

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            process = self._spawner.spawn(command, self.env | environment, output=output, errors=subprocess.STDOUT)
        self._running[name] = _Running(process, log)

    def _run_beside(self, commands: Sequence[tuple[str, ...]], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Run commands of `spendstream` side by side to their end, and something else meanwhile."""
        jobs = [(arguments, self._command(arguments)) for arguments in commands]
        meanwhile()
        for arguments, job in jobs:
            self._finish(arguments, job)

    def _command(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        self._tell(f"spendstream {' '.join(arguments)}")
        command = [sys.executable, "-m", "streams.cli", *arguments]
        pipe = subprocess.PIPE
        return self._spawner.spawn(command, self.env, input=pipe, output=pipe, errors=pipe)

    @staticmethod
    def _finish(arguments: Sequence[str], job: subprocess.Popen[bytes], input: bytes | None = None) -> str:
        try:
            output, errors = job.communicate(input)
        except BaseException:
            job.kill()
            job.wait()
            raise
        if job.returncode != 0:
            said = (errors.strip() or output).decode(errors="replace").strip()
            raise SpendError(f"spendstream {' '.join(arguments)} ended with {job.returncode}: {said}")
        return str(output.decode(errors="replace"))

    def _get(self, name: str) -> _Running:
        if name not in self._running:
            raise SpendError(f"{name} does not run")
        return self._running[name]

    def _signal(self, name: str, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._get(name).process.pid, number)

    def _ended(self, name: str) -> SpendError:
        running = self._running[name]
        code = running.process.poll() or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return SpendError(f"{name} {how}{_tail(running.log)}")


def _process(command: str, address: Address, environment: dict[str, str]) -> Server:
    """`spendstream <command>`, which says at /ready that it is."""
    ready = f"http://{address.host}:{address.port}/ready"
    return Server([sys.executable, "-m", "streams.cli", command], address, lambda: embedded.answers(ready), environment)


def on_free_ports(settings: Settings) -> Settings:
    """The same settings, with every server of the stack on a free port of 127.0.0.1."""
    return settings.model_copy(
        update={
            "kafka_bootstrap_servers": f"127.0.0.1:{free_port()}",
            "clickhouse_url": f"http://127.0.0.1:{free_port()}",
            "worker_web_port": free_port(),
            "windows_web_port": free_port(),
            "sink_web_port": free_port(),
            "relay_web_port": free_port(),
            "preview_port": free_port(),
            "web_host": "127.0.0.1",
        }
    )


def _tail(log: Path) -> str:
    with log.open(encoding="utf-8", errors="replace") as lines:
        last = deque(lines, _TAIL_LINES)
    return f"; the end of {log}:\n" + "".join(f"  {line}" for line in last) if last else f"; {log} is empty"
