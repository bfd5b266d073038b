"""A child process that cannot outlive its parent, with the same settings as its parent."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from pydantic import SecretStr

from streams.settings import Settings

# Runs between fork and exec of a child, in a fresh interpreter, where it can do no harm to this one's threads.
# PR_SET_PDEATHSIG (1) survives exec; the parent may have died before it was set.
_GUARD = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)
os.execvp(command[0], command)
"""


class Spawner:
    """Starts children that the kernel kills when this process dies, however it dies (on Linux)."""

    def __init__(self) -> None:
        # The kernel's "parent" is the THREAD that forked: one thread that lasts forks them all.
        self._thread = ThreadPoolExecutor(1, "spawner")

    def spawn(
        self,
        command: list[str],
        environment: dict[str, str],
        *,
        input: int = subprocess.DEVNULL,
        output: IO[bytes] | int,
        errors: int,
    ) -> subprocess.Popen[bytes]:
        """Start `command` as the leader of a session of its own: Ctrl-C in a terminal is for the parent alone."""
        guarded = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command]
        job = self._thread.submit(
            subprocess.Popen,
            guarded,
            env=environment,
            stdin=input,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        return job.result()

    def close(self) -> None:
        """End the thread, and with it any child that still runs."""
        self._thread.shutdown()


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a child: this process's own, with SPEND_* from `settings` alone."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SPEND_")}
    return own | variables(settings) | {"PYTHONUNBUFFERED": "1"}


def variables(settings: Settings) -> dict[str, str]:
    """The settings as SPEND_* variables; what is None is left out, paths are absolute."""
    found = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, Path):
            value = value.absolute()
        if value is not None:
            found[f"SPEND_{name.upper()}"] = str(value)
    return found
