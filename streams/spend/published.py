"""Published prices at an instant: the default data, corrected by the reviewed entries of schemas/rates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache
from importlib import resources

import yaml
from genai_prices import types
from pydantic import ValidationError

from streams.errors import SpendError
from streams.spend import default_prices, model_names
from streams.spend.price_sheet import Sheet
from streams.spend.rate_entries import Correction, Window
from streams.spend.service_tiers import STANDARD


@dataclass(frozen=True)
class Quote:
    """What is published for a call at an instant; `sheet` None means that no price is, and `steps` say why."""

    rate_id: str
    sheet: Sheet | None
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A provider and model reference, looked up once: the default data's entry and the corrections about it."""

    provider: str
    reference: str
    owner: str
    model: types.ModelInfo | None
    how: str
    corrections: tuple[Correction, ...]

    @property
    def name(self) -> str:
        """The published model's id, or the reference when only corrections know it."""
        return self.model.id if self.model is not None else self.reference

    def changes(self) -> list[datetime]:
        """The instants at which a price of the model may change."""
        instants = [
            instant for c in self.corrections for instant in (c.effective_from, c.effective_to) if instant is not None
        ]
        return instants + (default_prices.changes(self.model) if self.model is not None else [])

    def windows(self, at: datetime) -> list[Window]:
        """The hours of the week at which a price of the model changes, as long as nothing else changes after `at`."""
        windows = [window for c in self.corrections if c.in_force(at) for window in c.windows]
        return windows + (default_prices.windows(self.model) if self.model is not None else [])


@dataclass(frozen=True)
class Published:
    """All corrections, by provider; `quote` is the published price of a call."""

    corrections: dict[str, tuple[Correction, ...]] = field(default_factory=dict)

    def subject(self, provider: str, reference: str) -> Subject:
        """Look up a model of a provider (its canonical id)."""
        found = model_names.find_model(provider, reference)
        owner, model, how = found if found else (provider, None, "is not in the default data")
        spellings = list(model_names.model_references(provider, reference))
        relevant = [
            correction
            for about in dict.fromkeys((provider, owner))
            for correction in self.corrections.get(about, ())
            if (about == provider or _of_the_model(correction))
            and (
                (model is not None and any(fnmatchcase(model.id, pattern) for pattern in correction.models))
                or any(fnmatchcase(spelling, pattern) for pattern in correction.names for spelling in spellings)
            )
        ]
        return Subject(provider, spellings[-1], owner, model, how, tuple(relevant))

    def quote(self, subject: Subject, at: datetime, tier: str, region: str | None) -> Quote:
        """The price sheet of a call that `tier` served at `at`, and how it came about."""
        active = [c for c in subject.corrections if c.active(at) and _regional(c, region)]
        steps = [f"{subject.reference!r} {subject.how}"]
        rate_id = f"{subject.provider}/{subject.name}"
        sheet = self._standard(subject, active, at, steps)
        if sheet is not None and tier != STANDARD:
            rate_id += f":{tier}"
            sheet = self._tiered(subject, active, at=at, tier=tier, sheet=sheet, steps=steps)
        if sheet is None or not (sheet.tokens or sheet.quantities):
            steps.append(f"no {tier} price is published at {at:%Y-%m-%d %H:%M:%S} UTC")
            return Quote(rate_id, None, tuple(steps))
        for correction in active:
            if correction.tier not in ("*", tier):
                continue
            if correction.same_as:
                same = {b: source for b, name in correction.same_as.items() if (source := sheet.leaf(name)) is not None}
                sheet = sheet.amended(same, {})
                steps.append(f"{correction.id}: {', '.join(f'{b} as {a}' for b, a in correction.same_as.items())}")
            if correction.floors:
                sheet = sheet.amended({}, {}, correction.floors)
            if correction.regions and correction.multiply is not None:
                sheet = _scaled(sheet, correction)
                rate_id += f"@{(region or '').lower()}"
                steps.append(f"{correction.id}: times {correction.multiply}")
        return Quote(rate_id, sheet, tuple(steps))

    def _standard(self, subject: Subject, active: Sequence[Correction], at: datetime, steps: list[str]) -> Sheet | None:
        sheet = None
        if subject.model is not None:
            sheet = default_prices.standard(subject.model, at)
            steps.append(f"standard price of {subject.owner}/{subject.model.id} on {at:%Y-%m-%d} in the default data")
        for correction in active:
            if correction.tier == STANDARD and (correction.replace or correction.prices):
                sheet = _laid_over(Sheet() if correction.replace or sheet is None else sheet, correction)
                steps.append(f"{correction.id}: {correction.why}")
        return sheet

    def _tiered(
        self,
        subject: Subject,
        active: Sequence[Correction],
        *,
        at: datetime,
        tier: str,
        sheet: Sheet,
        steps: list[str],
    ) -> Sheet | None:
        """The tier's price over the standard one: the default data's, else a multiple; then corrections of the tier."""
        result = None
        corrections = [c for c in active if c.tier == tier and c.prices]
        sold_by_maker = subject.owner == subject.provider
        if subject.model is not None and sold_by_maker and not any(c.replace for c in corrections):
            found = default_prices.tiered(subject.model, at, tier, sheet)
            if found is not None:
                result, how = found
                steps.append(f"{tier} price in the default data, {how}")
        if result is None:
            scale = next((c for c in active if c.tier == tier and c.multiply is not None and not c.regions), None)
            if scale is not None:
                result = _scaled(sheet, scale)
                steps.append(f"{scale.id}: times {scale.multiply}")
        for correction in corrections:
            result = _laid_over(Sheet() if correction.replace else result or sheet, correction)
            steps.append(f"{correction.id}: {correction.why}")
        return result


def _of_the_model(correction: Correction) -> bool:
    """Whether it is about the model itself, whoever sells it: tiers and regions are each seller's own affair."""
    return correction.tier in (STANDARD, "*") and not correction.regions


def _regional(correction: Correction, region: str | None) -> bool:
    return not correction.regions or any(fnmatchcase((region or "").lower(), pattern) for pattern in correction.regions)


def _laid_over(sheet: Sheet, correction: Correction) -> Sheet:
    return sheet.amended(correction.tokens, correction.quantities, correction.floors)


def _scaled(sheet: Sheet, correction: Correction) -> Sheet:
    factor = Fraction(correction.multiply if correction.multiply is not None else 1)
    tokens = {b: s.times(factor) if b in correction.buckets else s for b, s in sheet.tokens.items()}
    quantities = {q: p * factor if q in correction.buckets else p for q, p in sheet.quantities.items()}
    return Sheet(tokens, quantities, sheet.floors)


@lru_cache
def load_corrections() -> tuple[Correction, ...]:
    """The reviewed entries of schemas/rates/*.yaml, in file order.

    Raises:
        SpendError: an entry does not fit; the message names the file, the entry and the field.
    """
    entries = []
    for path in sorted(resources.files("schemas").joinpath("rates").iterdir(), key=lambda path: path.name):
        if not path.name.endswith(".yaml"):
            continue
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for raw in document["corrections"]:
            try:
                entries.append(Correction.model_validate({**document.get("defaults", {}), **raw}))
            except ValidationError as exc:
                first = exc.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                raise SpendError(f"schemas/rates/{path.name}: {raw.get('id')}: {where}: {first['msg']}") from exc
    return tuple(entries)


def published(corrections: Iterable[Correction]) -> Published:
    """Published prices with these corrections."""
    by_provider: dict[str, tuple[Correction, ...]] = {}
    for correction in corrections:
        by_provider[correction.provider] = (*by_provider.get(correction.provider, ()), correction)
    return Published(by_provider)
