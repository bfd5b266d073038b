"""The audit (DESIGN 3, rule 8): the usage log worked out by the oracle = raw rows = rollups and windows, exactly."""

from streams.audit.report import Report
from streams.audit.run import audit

__all__ = ["Report", "audit"]
