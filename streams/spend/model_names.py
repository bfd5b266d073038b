"""Provider and model names: which published entry a reference means, and when it means none.

A reference is matched by the price data's own clauses, but a clause such as "starts with gpt-5-nano-" also catches
models that do not exist yet. So a match that is not an equality is accepted only when what stands after the known
name is a recognised suffix (a date, a version, `-latest`, ...): a new model is unpriced, never priced as an older one.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from genai_prices import types
from genai_prices.data import providers as PUBLISHED

# OpenTelemetry's gen_ai.provider.name and the names that gateways use, to the price data's provider ids.
PROVIDERS: dict[str, str] = {
    "openai": "openai",
    "azure.openai": "azure",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure_openai": "azure",
    "azure_ai": "azure",
    "azure": "azure",
    "az.ai.openai": "azure",
    "az.ai.inference": "azure",
    "anthropic": "anthropic",
    "aws": "aws",
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "amazon": "aws",
    "amazon_bedrock": "aws",
    "google": "google",
    "gcp": "google",
    "gemini": "google",
    "vertex_ai": "google",
    "vertexai": "google",
    "google_ai_studio": "google",
    "google_genai": "google",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral": "mistral",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "x_ai": "x-ai",
    "x-ai": "x-ai",
    "xai": "x-ai",
    "cohere": "cohere",
    "perplexity": "perplexity",
    "openrouter": "openrouter",
    "together": "together",
    "together_ai": "together",
    "togetherai": "together",
    "fireworks": "fireworks",
    "fireworks_ai": "fireworks",
    "cerebras": "cerebras",
    "moonshot_ai": "moonshotai",
    "moonshotai": "moonshotai",
    "voyage": "voyageai",
    "voyage_ai": "voyageai",
    "voyageai": "voyageai",
    "elevenlabs": "elevenlabs",
}

# A reseller whose entry is missing bills the maker's list price only where it says so itself. Azure lists OpenAI's
# Global deployments and Claude in Foundry at the makers' prices, Vertex AI Claude on its global endpoint; Azure's
# DeepSeek, Grok and Kimi have prices of their own.
LIST_PRICE_RESOLD: dict[str, tuple[str, ...]] = {"azure": ("openai", "anthropic"), "google": ("anthropic",)}

_DATE = r"(?:20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01]))"
_MONTH_DAY = r"(?:(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01]))"
_SUFFIXES: dict[str, str] = {
    # Snapshots are dated; OpenAI's previews keep their own entry, so a bare "-preview" belongs to the same model.
    "openai": rf"(?:-preview)?(?:-{_DATE})?|-latest",
    "azure": rf"(?:-preview)?(?:-{_DATE})?|-latest",
    # claude-sonnet-4-5-20250929, claude-3-5-haiku-latest, and Vertex's claude-sonnet-4@20250514, @default.
    "anthropic": rf"-{_DATE}|-latest|@(?:{_DATE}|default|latest)",
    # gemini-2.0-flash-001, -preview-05-06, -preview-09-2025, -exp-1206, -latest; Claude on Vertex as above. A name of
    # the data may end in "preview" itself, and a month follows: gemini-2.5-flash-native-audio-preview-09-2025.
    "google": rf"-latest|-00\d|-(?:preview|exp)(?:-(?:{_MONTH_DAY}|\d{{2}}-20\d{{2}}|{_DATE}))?"
    rf"|-{_DATE}|-(?:0[1-9]|1[0-2])-20\d{{2}}|@(?:{_DATE}|default|latest|00\d)",
    # anthropic.claude-sonnet-4-5-20250929-v1:0, amazon.nova-pro-v1:0:300k, mistral.mistral-7b-instruct-v0:2. A second
    # version is another model: where there is one, the data names it.
    "aws": rf"(?:-{_DATE})?(?:-v[01])?(?::\d+)?(?::\d+k)?",
    # magistral-medium-2509. Mistral's versions have prices of their own, and the data names those since 2026.
    "mistral": r"-latest|-2[3-5](?:0[1-9]|1[0-2])|-v0\.\d",
}
_OTHER_SUFFIXES = rf"-{_DATE}|-latest"

# Names that makers publish for a model of the price data under which the data does not have it.
ALSO_CALLED: dict[str, str] = {
    "gpt-4o-mini-transcribe-2025-03-20": "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15": "gpt-4o-mini-transcribe",
    "gpt-4o-mini-tts-2025-03-20": "gpt-4o-mini-tts",
    "gpt-4o-mini-tts-2025-12-15": "gpt-4o-mini-tts",
    "gpt-5-search-api-2025-10-14": "gpt-5-search-api",
    "tts-1-1106": "tts-1",
    "tts-1-hd-1106": "tts-1-hd",
    "claude-3-5-sonnet-v2": "claude-3-5-sonnet",
    "claude-3-5-sonnet-v2@20241022": "claude-3-5-sonnet",
    "gemini-3.1-pro-preview-customtools": "gemini-3.1-pro-preview",
    "mistral-saba-2502": "mistral-saba",
    "mistral-tiny-2312": "mistral-tiny",
    "open-mistral-nemo-2407": "open-mistral-nemo",
    "open-mixtral-8x22b-2404": "open-mixtral-8x22b",
    "pixtral-12b-2409": "pixtral-12b",
}

# Bedrock's inference profiles stand before the maker's name: us.anthropic.claude-..., global.openai.gpt-...
_PROFILE = re.compile(r"^(?:us-gov|apac|global|us|eu|jp|au|ca|in|sa)\.")
# The data's ids have two profiles: regional.anthropic.claude-3-5-sonnet-20241022-v2:0.
_DATA_PROFILE = re.compile(r"^(?:regional|global)\.")
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$")


@lru_cache
def published_provider(provider_id: str) -> types.Provider | None:
    """The price data's provider of that id."""
    return next((provider for provider in PUBLISHED if provider.id == provider_id), None)


def provider_id(name: str) -> str:
    """The provider's canonical id; an unknown name is its own id in lower case."""
    lowered = name.strip().lower()
    return PROVIDERS.get(lowered, lowered)


def model_references(provider: str, reference: str) -> Iterator[str]:
    """The spellings under which `reference` is looked up, the most literal first."""
    name = reference.strip().lower()
    yield name
    if provider == "google":  # models/gemini-2.5-pro, projects/p/locations/l/publishers/google/models/gemini-2.5-pro
        name = name.rpartition("/models/")[2] if "/models/" in name else name.removeprefix("models/")
        yield name
    if provider == "aws" and name.startswith("arn:"):  # arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic...
        kind, _, name = name.rpartition("/")
        if not kind.endswith(":application-inference-profile"):  # its name is an opaque id: the model is not known
            yield name
    prefix, slash, rest = name.partition("/")  # LiteLLM: openai/gpt-4o, bedrock/us.anthropic.claude-...
    if slash and provider_id(prefix) == provider:
        name = rest
        yield name
    dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", name)  # gateways write OpenAI's snapshots without dashes
    if dashed != name:
        yield dashed
    if provider == "azure" and name.startswith("gpt-35-"):  # Azure's names have no dot
        yield f"gpt-3.5-{name.removeprefix('gpt-35-')}"
    if name in ALSO_CALLED:
        yield ALSO_CALLED[name]


def find_model(provider: str, reference: str) -> tuple[str, types.ModelInfo, str] | None:
    """The published model that `reference` means: (provider of the entry, model, how it matched), or None."""
    for owner in (provider, *LIST_PRICE_RESOLD.get(provider, ())):
        published = published_provider(owner)
        if published is None:
            continue
        for name in model_references(provider, reference):
            for model in published.models:
                if model.is_match(name):
                    how = _accepted(provider, model, name)
                    if how is not None:
                        return owner, model, how
                    break  # the data's first match wins; when that is only a prefix, the model is unknown
    return None


def suffix_of(provider: str, known: str, name: str) -> str | None:
    """What stands in `name` after the known model name when it is a recognised suffix, else None ("" when equal)."""
    if name == known:
        return ""
    if name.startswith(known):
        rest = name[len(known) :]
        if re.fullmatch(_SUFFIXES.get(provider, _OTHER_SUFFIXES), rest):
            return rest
    return None


def _accepted(provider: str, model: types.ModelInfo, name: str) -> str | None:
    """How `name` means `model`; None when it only shares a prefix with it."""
    bare = _PROFILE.sub("", name) if provider == "aws" else name
    for clause in _leaves(model.match):
        if isinstance(clause, types.ClauseEquals) and name == clause.equals.lower():
            return f"is the name {clause.equals!r}"
        if isinstance(clause, types.ClauseRegex) and re.fullmatch(clause.regex, name) and clause.regex.endswith("$"):
            return f"fits {clause.regex!r}"
    for known in sorted(_known_names(model), key=len, reverse=True):
        for candidate in {name, bare, bare.partition(".")[2] if provider == "aws" else bare}:
            suffix = suffix_of(provider, known, candidate)
            if suffix is not None:
                return f"is the name {known!r}" + (f" with the suffix {suffix!r}" if suffix else "")
    return None


def _known_names(model: types.ModelInfo) -> set[str]:
    names = {model.id.lower(), _DATA_PROFILE.sub("", model.id.lower())}
    for clause in _leaves(model.match):
        if isinstance(clause, types.ClauseEquals):
            names.add(clause.equals.lower())
        elif isinstance(clause, types.ClauseStartsWith):
            names.add(clause.starts_with.lower())
        elif isinstance(clause, types.ClauseEndsWith):
            names.add(clause.ends_with.lower())
        elif isinstance(clause, types.ClauseContains):
            names.add(clause.contains.lower())
    return {name.rstrip("-@") for name in names if name}


def _leaves(clause: object) -> Sequence[object]:
    if isinstance(clause, types.ClauseOr):
        return [leaf for part in clause.or_ for leaf in _leaves(part)]
    if isinstance(clause, types.ClauseAnd):
        return [leaf for part in clause.and_ for leaf in _leaves(part)]
    return [clause]
