"""The invented organisation of organisation.yaml: validated, and unfolded into the kinds of call that it makes."""

from dataclasses import dataclass
from datetime import time
from functools import cached_property, lru_cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Shape = Literal[
    "chat",
    "searching_chat",
    "audio_chat",
    "audio_question",
    "transcription_tokens",
    "audio_seconds",
    "characters",
    "image",
    "pages",
    "embeddings",
    "gpu_seconds",
    "gb_hours",
    "bytes",
]
Tier = Literal["default", "priority", "flex", "batch"]
TraceName = Literal["azure-llm", "mooncake"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Call(_Strict):
    """A kind of call: which model, where, and what it counts."""

    weight: float = Field(gt=0)
    provider: str
    model: str
    server: str
    answers: str | None = None
    region: str | None = None
    operation: str = "chat"
    cost_category: str = "inference"
    shape: Shape = "chat"
    cache: Literal["implicit", "5m", "1h"] | None = None
    reasoning: bool = False
    tiers: dict[Tier, float] | None = None


class Workload(_Strict):
    """What calls are made for, with its share of all events."""

    name: str
    share: float = Field(gt=0, le=1)
    team: str
    service: str
    projects: list[str]
    workflow: str
    agents: list[str] = []
    tokens: TraceName
    gaps: TraceName
    season: str
    unit: str
    answer_cache: bool = False
    internal: bool = False
    calls: list[Call]


class Season(_Strict):
    """Weights of the hours 0 to 23 (UTC) and of the days Monday to Sunday."""

    hours: list[float] = Field(min_length=24, max_length=24)
    days: list[float] = Field(min_length=7, max_length=7)


class Faults(_Strict):
    """What goes wrong, as shares of the events."""

    aborted: float
    failed: float
    retried: float
    late: float
    sent_again_soon: float
    sent_again_later: float


class Runaway(_Strict):
    """A loop of calls in one workload that nobody meant, each with much more input than a usual call."""

    workload: str
    model: str
    environment: str
    between: tuple[time, time]
    hours_before_end: int = Field(gt=0)
    minutes: int = Field(gt=0)
    calls_a_minute: int = Field(gt=0)
    context: tuple[int, int]
    most_share: float = Field(gt=0, lt=1)
    live_share: float = Field(gt=0)
    live_minutes: int = Field(gt=0)


class Story(_Strict):
    """What happens besides the usual: two customers whose spend rises and falls, and a workload that runs away."""

    rising: str
    falling: str
    runaway: Runaway


@dataclass(frozen=True)
class Variant:
    """A call of a workload in one service tier: everything about it that is the same every time."""

    workload: int
    call: Call
    tier: Tier | None
    weight: float


class Organisation(_Strict):
    """The organisation as its file says it."""

    name: str
    gateways: dict[str, float]
    environments: dict[str, float]
    unattributed: dict[str, float]
    faults: Faults
    story: Story
    seasons: dict[str, Season]
    workloads: list[Workload]
    customers: dict[str, float]

    @model_validator(mode="after")
    def _hangs_together(self) -> "Organisation":
        if abs(sum(workload.share for workload in self.workloads) - 1) > 1e-9:
            raise ValueError("the workloads' shares do not sum to 1")
        if unknown := {workload.season for workload in self.workloads} - set(self.seasons):
            raise ValueError(f"unknown season: {', '.join(sorted(unknown))}")
        if self.faults.retried > self.faults.failed:
            raise ValueError("more calls are retried than fail")
        self._story_hangs_together()
        return self

    def _story_hangs_together(self) -> None:
        told, runaway = self.story, self.story.runaway
        if self.customers.get(told.rising, 0) <= 0 or self.customers.get(told.falling, 0) >= 0:
            raise ValueError("the story's customers do not rise and fall")
        models = {w.name: [call.model for call in w.calls] for w in self.workloads}
        if runaway.model not in models.get(runaway.workload, []) or runaway.environment not in self.environments:
            raise ValueError("the story's runaway is in no workload, model or environment of the organisation")

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """The kinds of call in their tiers; weights are within the workload."""
        found = []
        for index, workload in enumerate(self.workloads):
            for call in workload.calls:
                if call.tiers is None:
                    found.append(Variant(index, call, None, call.weight))
                    continue
                total = sum(call.tiers.values())
                found.extend(Variant(index, call, t, call.weight * share / total) for t, share in call.tiers.items())
        return tuple(found)


@lru_cache
def organisation() -> Organisation:
    """The organisation of organisation.yaml."""
    text = resources.files("streams.sample").joinpath("organisation.yaml").read_text(encoding="utf-8")
    return Organisation.model_validate(yaml.safe_load(text))
