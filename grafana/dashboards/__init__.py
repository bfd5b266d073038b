"""The dashboards, one a file: each module here has a `DASHBOARD`."""

from importlib import import_module
from pkgutil import iter_modules

from grafana.dashboard import Dashboard


def every() -> list[Dashboard]:
    """All dashboards, by uid."""
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    return sorted((module.DASHBOARD for module in modules), key=lambda each: each.uid)
