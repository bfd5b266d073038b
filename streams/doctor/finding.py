"""What the doctor says: a line for each thing looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streams.settings import Settings


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: `mend` is empty where all is well, or where an earlier check stands in the way."""

    check: str
    found: str
    mend: str = ""
    looked: bool = True


Check = Callable[[Settings], Iterator[Finding]]
