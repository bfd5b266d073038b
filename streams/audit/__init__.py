"""The audit: the usage log worked out again by the oracle = raw rows = rollups, to the last digit (DESIGN 3, rule 8)."""

from streams.audit.report import Report
from streams.audit.run import audit

__all__ = ["Report", "audit"]
