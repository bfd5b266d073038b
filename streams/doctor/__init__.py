"""What `spendstream doctor` looks at: each check says what it found and, where something is wrong, what mends it."""

from streams.doctor.finding import Finding
from streams.doctor.run import examine

__all__ = ["Finding", "examine"]
