"""What each call counted: tokens and other quantities, by the shape of the call."""

from dataclasses import dataclass

import numpy as np

from streams.sample.organisation import Organisation
from streams.sample.quantiles import measured

BLOCK = 512  # tokens of a cached block, as in the trace that shows cache reads
SHORTEST_CACHED = 1024  # OpenAI's least cacheable prompt; others ask for as much or more
NULL = -1  # in every array here: the call has no such count

OK, ABORTED, FAILED, ANSWERED = range(4)  # ANSWERED: by the gateway's own cache, no model was called

UNITS = ("web_search", "audio_second", "character", "page", "gpu_second", "gb_hour", "byte_transferred")
TOKENLESS = {
    "audio_seconds": "audio_second",
    "characters": "character",
    "pages": "page",
    "gpu_seconds": "gpu_second",
    "gb_hours": "gb_hour",
    "bytes": "byte_transferred",
}
CAN_FAIL = ("chat", "searching_chat", "audio_chat")
PICTURE_TOKENS = np.array([272, 1056, 1290, 4160])  # of one picture, by quality


@dataclass(frozen=True)
class Counts:
    """Counts of calls, NULL where a call has none: token columns by field name, one other quantity, milliseconds."""

    tokens: dict[str, np.ndarray]
    unit: np.ndarray  # index into UNITS
    amount: np.ndarray
    duration_ms: np.ndarray
    pictures: np.ndarray


def count(
    org: Organisation, rng: np.random.Generator, variant: np.ndarray, fate: np.ndarray, context: np.ndarray
) -> Counts:
    """Counts of calls of these variants (indices into org.variants) that ended with these fates.

    `context` is tokens of input beyond those of a usual call.
    """
    size = len(variant)
    shapes = np.array([v.call.shape for v in org.variants])[variant]
    caches = np.array([v.call.cache or "" for v in org.variants])[variant]
    reasons = np.array([v.call.reasoning for v in org.variants])[variant]
    traces = np.array([org.workloads[v.workload].tokens for v in org.variants])[variant]

    given, answer = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for name, tables in measured().traces.items():
        of = np.flatnonzero(traces == name)
        given[of] = tables.input_tokens.counts(rng, len(of))
        answer[of] = tables.output_tokens.counts(rng, len(of))
    given += context

    seconds = np.clip(np.rint(rng.lognormal(np.log(240), 0.9, size)), 5, 7200).astype(np.int64)
    audio_in = np.where(np.isin(shapes, ["audio_chat", "audio_question"]), _part(rng, given, 0.5, 0.95), NULL)
    heard = shapes == "transcription_tokens"
    audio_in = np.where(heard, seconds * 10, audio_in)
    given = np.where(heard, audio_in + 40, given)
    answer = np.where(heard, seconds * 3, answer)

    drawn = shapes == "image"
    pictures = np.where(drawn, rng.integers(1, 5, size), NULL)
    image_in = np.where(drawn & (rng.random(size) < 0.3), rng.integers(200, 1600, size), NULL)
    given = given + np.maximum(image_in, 0)
    image_out = np.where(drawn, pictures * rng.choice(PICTURE_TOKENS, size), NULL)
    answer = np.where(drawn, image_out, answer)

    answer = np.where(fate == ABORTED, (answer * rng.random(size)).astype(np.int64), answer)
    unbilled = np.isin(fate, [FAILED, ANSWERED])
    given, answer = np.where(unbilled, 0, given), np.where(unbilled, 0, answer)
    audio_in = np.where(unbilled & (audio_in != NULL), 0, audio_in)
    audio_out = np.where(shapes == "audio_chat", _part(rng, answer, 0.5, 0.95), NULL)
    reasoning = np.where(reasons, _part(rng, answer, 0.2, 0.7), NULL)

    read = _cache_reads(rng, given)
    pays = np.isin(caches, ["5m", "1h"])
    written = np.where(rng.random(size) < 0.7, (given - read) // BLOCK * BLOCK, 0)
    written = np.where(given < SHORTEST_CACHED, 0, written)

    tokenless = np.isin(shapes, list(TOKENLESS))
    units = np.array(
        [UNITS.index(TOKENLESS[v.call.shape]) if v.call.shape in TOKENLESS else NULL for v in org.variants]
    )
    unit, amount = units[variant], _amounts(rng, shapes, seconds, given)
    searches = np.where((shapes == "searching_chat") & (fate == OK), rng.integers(0, 6, size), 0)
    unit, amount = np.where(searches > 0, 0, unit), np.where(searches > 0, searches, amount)

    latency = np.rint(rng.lognormal(np.log(420), 0.5, size)).astype(np.int64)
    working = np.where(unit == UNITS.index("gpu_second"), amount * 1000, np.maximum(answer, 0) * 1000 // 85)
    return Counts(
        tokens={
            "input_tokens": np.where(tokenless, NULL, given),
            "output_tokens": np.where(tokenless | (shapes == "embeddings"), NULL, answer),
            "cache_read_input_tokens": np.where(caches == "", NULL, read),
            "cache_creation_input_tokens": np.where(pays, written, NULL),
            "cache_creation_1h_input_tokens": np.where(caches == "1h", written, NULL),
            "reasoning_output_tokens": reasoning,
            "audio_input_tokens": audio_in,
            "audio_output_tokens": audio_out,
            "image_input_tokens": image_in,
            "image_output_tokens": image_out,
        },
        unit=unit,
        amount=amount,
        duration_ms=np.where(fate == ANSWERED, 3, latency + working),
        pictures=pictures,
    )


def _part(rng: np.random.Generator, of: np.ndarray, least: float, most: float) -> np.ndarray:
    return (of * rng.uniform(least, most, len(of))).astype(np.int64)


def _cache_reads(rng: np.random.Generator, given: np.ndarray) -> np.ndarray:
    """Cache reads in whole blocks, by the measured shares for prompts of that length; a full prompt may end in part."""
    share = measured().cache_read.draw(rng, given)
    read = np.minimum(np.rint(share * given / BLOCK).astype(np.int64) * BLOCK, given)
    return np.where(given < SHORTEST_CACHED, 0, read)


def _amounts(rng: np.random.Generator, shapes: np.ndarray, seconds: np.ndarray, given: np.ndarray) -> np.ndarray:
    size = len(shapes)
    # GPU runs are much alike: one that cost dollars more than the others would be an incident every other night.
    choices = {
        "audio_seconds": seconds,
        "characters": given * 4,
        "pages": 1 + given // 600,
        "gpu_seconds": np.rint(rng.lognormal(np.log(600), 0.3, size)).astype(np.int64),
        "gb_hours": rng.integers(50, 4000, size),
        "bytes": rng.integers(10**7, 10**10, size),
    }
    return np.select([shapes == name for name in choices], list(choices.values()), 0)
