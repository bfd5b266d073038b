"""The tier that served a call, from what the provider calls it.

Returns one of the price tiers `standard`, `batch`, `flex`, `priority`, `fast`; a name whose price is not published per
call (committed capacity) or not known is returned as None with the reason, and the call is unpriced unless an own rate
prices it. Sources: OpenAI `service_tier` (auto, default, flex, scale, priority, fast), Anthropic `usage.service_tier`
(standard, priority, batch) and `speed`, Google `trafficType` and `service_tier`, Bedrock `serviceTier` (default, flex,
priority, reserved), Groq `service_tier` (auto, on_demand, flex, performance), xAI `service_tier` (default, priority).
"""

STANDARD = "standard"
BATCH = "batch"

_STANDARD_NAMES = frozenset(
    {
        "",
        "default",
        "standard",
        "auto",
        "on_demand",
        "on-demand",
        "standard_only",
        "traffic_type_unspecified",
        "unspecified",
    }
)
_OTHER_NAMES = {
    "batch": BATCH,
    "flex": "flex",
    "on_demand_flex": "flex",
    "priority": "priority",
    "on_demand_priority": "priority",
    "fast": "fast",
}
# Groq serves its flex tier at the on-demand price; Anthropic's priority tier is committed capacity, not a price a call.
_BY_PROVIDER: dict[tuple[str, str], str | None] = {
    ("groq", "flex"): STANDARD,
    ("anthropic", "priority"): None,
}
_COMMITTED = frozenset({"scale", "provisioned", "provisioned_throughput", "reserved", "performance", "ptu"})


def served_tier(
    provider: str, service_tier: str | None, is_batch: bool | None, speed: str | None
) -> tuple[str | None, str]:
    """The price tier of a call and, in words, why; (None, reason) when the tier has no published price a call."""
    name = (service_tier or "").strip().lower()
    if name in _STANDARD_NAMES:
        tier: str | None = STANDARD
    elif (provider, name) in _BY_PROVIDER:
        tier = _BY_PROVIDER[provider, name]
    else:
        tier = _OTHER_NAMES.get(name)
    if tier is None:
        why = "is committed capacity, billed apart" if name in _COMMITTED or name == "priority" else "is not known"
        return None, f"the service tier {service_tier!r} {why}"
    pace = (speed or "").strip().lower()
    named = [tier] if tier != STANDARD else []
    if pace not in ("", "standard", "default", "normal"):
        if pace != "fast":
            return None, f"the speed {speed!r} is not known"
        named.append("fast")
    if is_batch:
        named.append(BATCH)
    distinct = sorted(set(named))
    if len(distinct) > 1:
        return None, f"{' and '.join(distinct)} at once have no published price"
    return (distinct[0] if distinct else STANDARD), f"served by the {distinct[0] if distinct else STANDARD} tier"
