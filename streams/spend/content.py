"""What is said to a model has no place in a row: long tags are cut, raw usage that holds words is left out. Pure.

The event counts as it is: it is priced before. A row that lost something says so in a tag, `spendstream.cut`, so that
reports, rollups and dashboards show it, as they show every tag.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.bounds import MAX_KEPT_USAGE_BYTES, MAX_TAG_CHARACTERS, USAGE_OBJECT

CUT = "spendstream.cut"
"""The tag of a row that lost something: `tags`, `raw_usage` or `raw_usage,tags`."""

_WHAT = ("", "tags", "raw_usage", "raw_usage,tags")


def without_content(events: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
    """Cut what is too long to be a tag, and leave out what is no usage object.

    A tag's value keeps its first 256 characters; a tag whose key is longer is left out.

    Args:
        events: columns of a UsageEvent, n rows; `tags` and `raw_usage` as pyruhvro gives them.

    Returns:
        The events, the same object when all of them are as they should be; and how many rows lost something.
    """
    tags, raw = events.column("tags"), events.column("raw_usage")
    keys, texts = pc.utf8_length(tags.keys).to_numpy(), pc.utf8_length(tags.items).to_numpy()
    wordy = _wordy(raw)
    if max(keys.max(initial=0), texts.max(initial=0)) <= MAX_TAG_CHARACTERS and not wordy.any():
        return events, 0
    offsets = tags.offsets.to_numpy()
    entries = slice(int(offsets[0]), int(offsets[-1]))
    row_of = np.repeat(np.arange(len(tags)), np.diff(offsets))
    too_long = np.maximum(keys, texts)[entries] > MAX_TAG_CHARACTERS
    lost = 2 * wordy.astype(np.int8)
    lost[row_of[too_long]] |= 1
    if wordy.any():
        raw = pc.if_else(pa.array(wordy), pa.scalar(None, raw.type), raw)
    kept = keys[entries] <= MAX_TAG_CHARACTERS
    columns = dict(zip(events.schema.names, events.columns, strict=True))
    columns |= {"tags": _tagged(tags, row_of, kept, lost), "raw_usage": raw}
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=events.schema), int(np.count_nonzero(lost))


def _wordy(raw: pa.StringArray) -> np.ndarray:
    """Where `raw_usage` is anything but numbers and short names."""
    if raw.null_count == len(raw):
        return np.zeros(len(raw), bool)
    short = pc.less_equal(pc.binary_length(raw), MAX_KEPT_USAGE_BYTES)
    fits = pc.and_(short, pc.match_substring_regex(raw, USAGE_OBJECT))
    return ~pc.fill_null(fits, True).to_numpy(zero_copy_only=False)


def _tagged(tags: pa.MapArray, row_of: np.ndarray, kept: np.ndarray, lost: np.ndarray) -> pa.MapArray:
    """The entries that are kept, their values cut, and behind them the tag of each row that lost something."""
    first, count = int(tags.offsets[0].as_py()), len(row_of)
    keys, values = tags.keys.slice(first, count), tags.items.slice(first, count)
    values = pc.utf8_slice_codeunits(values, 0, MAX_TAG_CHARACTERS)
    rows = np.flatnonzero(lost)
    # a producer's own tag of that name gives way to the row's
    kept = kept & ~(pc.equal(keys, CUT).to_numpy(zero_copy_only=False) & (lost[row_of] > 0))
    chosen = pa.array(kept)
    keys = pa.concat_arrays([keys.filter(chosen), pa.repeat(CUT, len(rows))])
    values = pa.concat_arrays([values.filter(chosen), pa.array([_WHAT[what] for what in lost[rows]], pa.string())])
    owner = np.concatenate([row_of[kept], rows])
    order = pa.array(np.argsort(owner, kind="stable"))
    ends = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(tags)))]).astype(np.int32)
    return pa.MapArray.from_arrays(pa.array(ends), keys.take(order), values.take(order), type=tags.type)
