"""The peers' own Python: what they need is no dependency of the project, so it lies beside it, made once on demand."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from streams.errors import SpendError

REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"
VENVS = Path.home() / ".cache" / "spendstream" / "peers"


def peers_python(tell: Callable[[str], None]) -> str:
    """The interpreter of a virtual environment with `peers/requirements.txt`; other requirements, another one.

    Raises:
        SpendError: it cannot be made; the message is pip's.
    """
    wanted = f"{sys.version_info[:2]} {REQUIREMENTS.read_text(encoding='utf-8')}"
    folder = VENVS / hashlib.sha256(wanted.encode()).hexdigest()[:12]
    python, installed = folder / "bin" / "python", folder / "installed"
    if not installed.exists():
        tell(f"installing the peers into {folder}, once: half a minute and 600 MB")
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run(*pip, "--only-binary", ":all:", "-r", str(REQUIREMENTS))
        installed.touch()
    return str(python)


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SpendError(
            f"the peers cannot be installed (python -m benchmarks --only measures without them): {ended.stderr.strip()}"
        )
