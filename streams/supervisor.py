"""Runs the stack on one machine: starts the parts in order, waits for each, watches them, stops them in reverse.

Nothing is restarted silently: when a part ends by itself, `wait` stops everything and says which and why. No process
stays behind, even when the supervisor is killed: each child asks the kernel to be killed when its parent dies.
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr

from streams import embedded
from streams.embedded import Address, Server
from streams.errors import SpendError
from streams.ports import free_port
from streams.settings import Settings

SERVERS = ("broker", "clickhouse")
STEPS = ("topics", "migrate")  # run to their end, once, after the servers
PROCESSES = ("worker", "sink")
EVERYTHING = (*SERVERS, *STEPS, *PROCESSES)

_STEP_COMMANDS = {"topics": ("topics", "create"), "migrate": ("migrate", "up")}
_READY_SECONDS = 90.0
_STOP_SECONDS = 25.0
_TAIL_LINES = 15
_LOG_BYTES = 32 << 20

# Between fork and exec of a child, in a fresh interpreter: PR_SET_PDEATHSIG (1) survives exec, and the parent may have
# died before it was set.
_GUARD = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)
os.execvp(command[0], command)
"""


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    log: Path


class Stack:
    """The parts of the pipeline as child processes, for `spendstream up`, the demo and the tests.

    >>> with Stack(on_free_ports(Settings(state_dir=tmp_path))) as stack:     # broker, clickhouse, topics, migrate, ...
    ...     stack.settings.clickhouse_url          # where things listen; give these settings to your own code
    ...     stack.run("report", "--json")          # `spendstream report --json` against this stack: its output
    ...     stack.kill("worker")                   # SIGKILL; also stack.stop("worker"), which is SIGTERM and patient
    ...     stack.start("worker")                  # returns when it is ready; "topics" and "migrate" run to their end
    ...     stack.start("worker-2")                # one more worker, with a port and a state folder of its own
    ...     stack.wait(seconds=5)                  # raises when a part ended by itself

    `parts` chooses what entering starts, in order: `Stack(settings, parts=SERVERS)` is broker and database alone. What
    was not started then can be started later. `env` holds the variables for processes of one's own.
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
        # A child is killed when the THREAD that forked it ends, so one thread that lasts forks them all.
        self._spawner = ThreadPoolExecutor(1, "spawner")

    @property
    def env(self) -> dict[str, str]:
        """The environment of the stack's processes: this one's, with SPEND_* from the settings alone."""
        own = {k: v for k, v in os.environ.items() if not k.startswith("SPEND_")}
        return own | variables(self.settings) | {"PYTHONUNBUFFERED": "1"}

    @property
    def log_dir(self) -> Path:
        """Where each part's output is collected, a file a part."""
        return self.settings.state_dir / "logs"

    def __enter__(self) -> "Stack":
        try:
            for name in self._parts:
                if name not in STEPS:
                    embedded.require_free(self._server(name).address)
            for name in self._parts:
                self.start(name)
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
        if name in STEPS:
            self._tell(f"{name} ...")
            self.run(*_STEP_COMMANDS[name])
            return
        if name in self._running:
            raise SpendError(f"{name} runs already")
        server = self._server(name)
        embedded.require_free(server.address)
        self._tell(f"{name} ...")
        running = self._spawn(name, server.command, server.environment)
        give_up = time.monotonic() + _READY_SECONDS
        while not server.ready():
            if running.process.poll() is not None:
                raise self._ended(name)
            if time.monotonic() > give_up:
                raise SpendError(f"{name} is not ready after {_READY_SECONDS:.0f} s{self._tail(running.log)}")
            time.sleep(0.05)
        if running.process.poll() is not None:  # something else answered at its address
            raise self._ended(name)

    def spawn(self, name: str, *command: str) -> None:
        """Start a process of the caller's beside the parts; it is watched and stopped like them."""
        self._spawn(name, list(command), {})

    def run(self, *arguments: str, input: bytes | None = None) -> str:
        """Run `spendstream <arguments>` against this stack to its end and return what it printed.

        Raises:
            SpendError: it failed; the message is what it said.
        """
        command = _guarded([sys.executable, "-m", "streams.cli", *arguments])
        job = self._spawner.submit(
            subprocess.run, command, env=self.env, input=input, capture_output=True, check=False, start_new_session=True
        )
        done = job.result()
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise SpendError(f"spendstream {' '.join(arguments)} ended with {done.returncode}: {said}")
        return str(done.stdout.decode(errors="replace"))

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
        self._tell(f"stopping {name} ...")
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

    def check(self) -> None:
        """Raise when a part ended by itself.

        Raises:
            SpendError: names the part, how it ended and the end of its log.
        """
        for name, running in self._running.items():
            if running.process.poll() is not None:
                raise self._ended(name)

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
        return self.log_dir / f"{name}.log"

    def close(self) -> None:
        """Stop what runs, the last started first."""
        for name in reversed(list(self._running)):
            if self._running[name].process.poll() is None:
                self.stop(name)
            else:
                self.kill(name)
        self._spawner.shutdown()

    def _server(self, name: str) -> Server:
        if name == "broker":
            return embedded.broker(self.settings)
        if name == "clickhouse":
            return embedded.database(self.settings)
        kind, _, number = name.partition("-")
        if kind not in PROCESSES:
            raise SpendError(f"There is no part {name!r}: {', '.join(EVERYTHING)}")
        setting = f"{kind}_web_port"
        port = free_port() if number else getattr(self.settings, setting)
        address = Address(self.settings.web_host, port, f"SPEND_{setting.upper()}")
        environment = {}
        if number:
            environment = {address.setting: str(port), "SPEND_STATE_DIR": str(self.settings.state_dir / name)}
        ready = f"http://{address.host}:{port}/ready"
        return Server(
            [sys.executable, "-m", "streams.cli", kind], address, lambda: embedded.answers(ready), environment
        )

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> _Running:
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            job = self._spawner.submit(
                subprocess.Popen,
                _guarded(command),
                env=self.env | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is the supervisor's alone
            )
            running = self._running[name] = _Running(job.result(), log)
        return running

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
        return SpendError(f"{name} {how}{self._tail(running.log)}")

    @staticmethod
    def _tail(log: Path) -> str:
        with log.open(encoding="utf-8", errors="replace") as lines:
            last = deque(lines, _TAIL_LINES)
        return f"; the end of {log}:\n" + "".join(f"  {line}" for line in last) if last else f"; {log} is empty"


def on_free_ports(settings: Settings) -> Settings:
    """The same settings, with every server of the stack on a free port of 127.0.0.1."""
    return settings.model_copy(
        update={
            "kafka_bootstrap_servers": f"127.0.0.1:{free_port()}",
            "clickhouse_url": f"http://127.0.0.1:{free_port()}",
            "worker_web_port": free_port(),
            "sink_web_port": free_port(),
            "web_host": "127.0.0.1",
        }
    )


def variables(settings: Settings) -> dict[str, str]:
    """The settings as SPEND_* variables, so that another process has the same; what is None is left out."""
    found = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            found[f"SPEND_{name.upper()}"] = str(value)
    return found


def _guarded(command: list[str]) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command]
