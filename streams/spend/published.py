"""Published prices at an instant: the default data of genai-prices, corrected by the reviewed entries of schemas/rates.

The default data knows a tier (batch, flex, priority, fast mode) only from the day on which it was checked. Before that day
its ratio to the standard price stands, because the tier that an event names did exist when it served the call.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from fnmatch import fnmatchcase
from fractions import Fraction
from importlib import resources

import yaml
from genai_prices import types
from pydantic import ValidationError

from streams.errors import SpendError
from streams.spend import model_names
from streams.spend.price_sheet import PICOS, QUANTITY_ALIASES, Sheet, Steps
from streams.spend.rate_entries import Correction, Window
from streams.spend.service_tiers import STANDARD

_TOKEN_KEYS = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "audio_cache_read",
    "input_image_mtok": "image_input",
    "cache_image_read_mtok": "image_cache_read",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
}
_QUANTITY_KEYS = {  # price key -> (quantity of the event, units that the price is for)
    "web_searches_kcount": ("web_search", 1000),
    "storage_searches_kcount": ("file_search", 1000),
    "requests_kcount": ("request", 1000),
    "input_text_messages_kcount": ("text_message", 1000),
    "input_document_kpages": ("page", 1000),
    "input_annotated_document_kpages": ("annotated_page", 1000),
    "input_mchars": ("character", 10**6),
    "audio_hours": ("audio_second", 3600),
    "input_audio_hours": ("input_audio_second", 3600),
}


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
        if self.model is not None:
            prices = self.model.prices if isinstance(self.model.prices, list) else []
            for constraint in [p.constraint for p in prices] + [v.constraint for v in self.model.price_variants or []]:
                if isinstance(constraint, types.StartDateConstraint):
                    instants.append(datetime.combine(constraint.start_date, time(), UTC))
        return instants

    def windows(self) -> list[Window]:
        """The hours of the week at which a price of the model changes."""
        windows = [window for c in self.corrections for window in c.windows]
        if self.model is not None and isinstance(self.model.prices, list):
            for price in self.model.prices:
                if isinstance(price.constraint, types.TimeOfDateConstraint):
                    edges = (price.constraint.start_time, price.constraint.end_time)
                    windows += [Window(start=edge.replace(tzinfo=None), end=time(0)) for edge in edges]
        return windows


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
            if (about == provider or correction.tier == STANDARD)  # tiers and regions are the reseller's own affair
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
        rate_id = f"{subject.owner}/{subject.name}"
        sheet = self._standard(subject, active, at, steps)
        if sheet is not None and tier != STANDARD:
            rate_id += f":{tier}"
            sheet = self._tiered(subject, active, at, tier, sheet, steps)
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
            sheet = _sheet(subject.model.get_prices(at))
            steps.append(f"standard price of {subject.owner}/{subject.model.id} on {at:%Y-%m-%d} in the default data")
        for correction in active:
            if correction.tier == STANDARD and (correction.replace or correction.prices):
                sheet = _laid_over(Sheet() if correction.replace or sheet is None else sheet, correction)
                steps.append(f"{correction.id}: {correction.why}")
        return sheet

    def _tiered(
        self, subject: Subject, active: Sequence[Correction], at: datetime, tier: str, sheet: Sheet, steps: list[str]
    ) -> Sheet | None:
        priced = False
        own = [c for c in active if c.tier == tier and c.prices]
        resold = subject.owner != subject.provider
        if subject.model is not None and not resold and not any(c.replace for c in own):
            variant = _variant(subject.model, at, tier)
            if variant is not None:
                tokens, quantities, how = variant
                sheet, priced = _as_variant(subject.model, sheet, at, tokens, quantities, how), True
                steps.append(f"{tier} price in the default data, {how.words}")
        if not priced and not own:
            scale = next((c for c in active if c.tier == tier and c.multiply is not None and not c.regions), None)
            if scale is not None:
                sheet, priced = _scaled(sheet, scale), True
                steps.append(f"{scale.id}: times {scale.multiply}")
        for correction in own:
            sheet, priced = _laid_over(Sheet() if correction.replace else sheet, correction), True
            steps.append(f"{correction.id}: {correction.why}")
        return sheet if priced else None


@dataclass(frozen=True)
class _Since:
    checked: datetime | None  # the day from which the data knows the variant; None: always
    before: bool  # whether the instant asked for lies before it
    words: str


def _variant(
    model: types.ModelInfo, at: datetime, tier: str
) -> tuple[dict[str, Steps], dict[str, Fraction], _Since] | None:
    """The prices that the default data overrides for a tier, first match first; before its first day, the first one."""
    matching = [v for v in model.price_variants or [] if _tier_of(v) == tier]
    if not matching:
        return None
    live = [v for v in matching if v.constraint is None or v.constraint.active(at)]
    chosen = live or [min(matching, key=_start)]
    tokens: dict[str, Steps] = {}
    quantities: dict[str, Fraction] = {}
    for variant in chosen:
        sheet = _sheet(variant.prices)
        tokens = {**sheet.tokens, **tokens}
        quantities = {**sheet.quantities, **quantities}
    start = None if live else _start(chosen[0])
    words = "as published" if live else f"checked on {start:%Y-%m-%d}: its ratio to the standard price stands before"
    return tokens, quantities, _Since(start, not live, words)


def _as_variant(
    model: types.ModelInfo,
    sheet: Sheet,
    at: datetime,
    tokens: dict[str, Steps],
    quantities: dict[str, Fraction],
    since: _Since,
) -> Sheet:
    if not since.before or since.checked is None:
        return sheet.amended(tokens, quantities)
    then = _sheet(model.get_prices(since.checked))
    scaled: dict[str, Steps] = {}
    for bucket, steps in tokens.items():
        standard, reference = sheet.tokens.get(bucket), then.tokens.get(bucket)
        if standard is None or reference is None:
            continue
        same = standard == reference or not reference.base
        scaled[bucket] = steps if same else standard.times(steps.base / reference.base)
    per_unit = {
        name: price * sheet.quantities[name] / then.quantities[name]
        for name, price in quantities.items()
        if sheet.quantities.get(name) and then.quantities.get(name)
    }
    return sheet.amended(scaled, per_unit)


def _tier_of(variant: types.PriceVariant) -> str | None:
    when = variant.when
    if len(when) != 1:
        return None
    return when.get("processing") or when.get("service_tier") or when.get("speed")


def _start(variant: types.PriceVariant) -> datetime:
    constraint = variant.constraint
    if isinstance(constraint, types.StartDateConstraint):
        return datetime.combine(constraint.start_date, time(), UTC)
    return datetime.min.replace(tzinfo=UTC)


def _regional(correction: Correction, region: str | None) -> bool:
    return not correction.regions or any(fnmatchcase((region or "").lower(), pattern) for pattern in correction.regions)


def _laid_over(sheet: Sheet, correction: Correction) -> Sheet:
    return sheet.amended(correction.tokens(), correction.quantities(), correction.floors)


def _scaled(sheet: Sheet, correction: Correction) -> Sheet:
    factor = Fraction(correction.multiply if correction.multiply is not None else 1)
    tokens = {b: s.times(factor) if b in correction.buckets else s for b, s in sheet.tokens.items()}
    quantities = {q: p * factor if q in correction.buckets else p for q, p in sheet.quantities.items()}
    return Sheet(tokens, quantities, sheet.floors)


def _sheet(prices: types.ModelPrice) -> Sheet:
    """A price of the default data as a sheet; video and citation tokens are in no event and are left out."""
    tokens: dict[str, Steps] = {}
    quantities: dict[str, Fraction] = {}
    for key, value in vars(prices).items():
        if value is None:
            continue
        if key in _TOKEN_KEYS:
            tokens[_TOKEN_KEYS[key]] = _steps(value, 10**6)
        elif key in _QUANTITY_KEYS:
            name, units = _QUANTITY_KEYS[key]
            quantities[name] = _steps(value, units).base
    return Sheet(tokens, quantities)


def _steps(value: object, units: int) -> Steps:
    picos = Fraction(PICOS, units)
    if isinstance(value, types.TieredPrices):
        return Steps(
            Fraction(value.base) * picos, tuple((tier.start, Fraction(tier.price) * picos) for tier in value.tiers)
        )
    return Steps(Fraction(value) * picos)  # type: ignore[arg-type]


def quantity_name(name: str) -> str:
    """The name under which a quantity is priced."""
    return QUANTITY_ALIASES.get(name, name)


def load_corrections() -> list[Correction]:
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
    return entries


def published(corrections: Iterable[Correction]) -> Published:
    """Published prices with these corrections."""
    by_provider: dict[str, tuple[Correction, ...]] = {}
    for correction in corrections:
        by_provider[correction.provider] = (*by_provider.get(correction.provider, ()), correction)
    return Published(by_provider)
