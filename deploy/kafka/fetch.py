"""Brings Apache Kafka into SPEND_KAFKA_LIBS, once: its jars with Maven, and an archive of the classes it loads.

    python -m deploy.kafka.fetch

For `make kafka` and the tests. It needs Java 17 or newer, Maven and a way to Maven Central.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from streams.apache_kafka import class_archive, version
from streams.errors import SpendError
from streams.settings import Settings, settings
from streams.supervisor import Stack, on_free_ports

_NEEDS = "Apache Kafka needs Java 17 or newer, and Maven to fetch it"
POM = Path(__file__).parent / "pom.xml"


def fetch(own: Settings) -> None:
    """
    Raises:
        SpendError: Java or Maven is missing, or Maven failed; the message has the end of what it said.
    """
    if version(own) is None:
        _jars(own.kafka_libs.absolute())
    if not class_archive(own).exists():
        _archive_classes(own)


def _jars(libs: Path) -> None:
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise SpendError(f"{program} is not installed: {_NEEDS}")
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    if (found := re.search(r'version "(\d+)', java)) is None or int(found[1]) < 17:
        raise SpendError(f"this Java is too old, {java.strip()[:80]!r}: {_NEEDS}")
    libs.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=libs.parent) as made:
        command = ["mvn", "--batch-mode", "--quiet", "--file", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={made}/libs"]
        maven = subprocess.run(command, capture_output=True, text=True, check=False)
        if maven.returncode != 0:
            raise SpendError(f"Maven could not fetch Apache Kafka: {(maven.stdout + maven.stderr).strip()[-1500:]}")
        Path(made, "libs").rename(libs)


def _archive_classes(own: Settings) -> None:
    """Run a broker once: at its end the JVM writes down what it had loaded."""
    os.environ["JAVA_TOOL_OPTIONS"] = f"-XX:ArchiveClassesAtExit={class_archive(own)} -Xlog:disable"
    with TemporaryDirectory() as made:
        once = own.model_copy(update={"broker": "kafka", "state_dir": Path(made)})
        with Stack(on_free_ports(once), parts=("broker",)):
            pass


if __name__ == "__main__":
    try:
        fetch(settings())
    except SpendError as exc:
        sys.exit(f"{exc}")
