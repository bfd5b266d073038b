"""Closed windows of every member of every dimension, judged as the stream judges them."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from streams.sample.spend import by_member
from streams.spend import anomaly
from streams.spend.anomaly import Detector, Finding
from streams.spend.dimensions import DIMENSIONS


@dataclass(frozen=True)
class Said:
    """A finding, and whom it is about."""

    dimension: str
    member: str
    finding: Finding


def watch(spend: pl.DataFrame, detector: Detector) -> list[Said]:
    """What the detector says of the spend (a frame of `streams.sample.spend.priced`), in the order of the windows."""
    seconds = detector.window_seconds
    windows = pl.concat(
        by_member(spend, dimension, timedelta(seconds=seconds)).select(
            pl.lit(dimension).alias("dimension"),
            "member",
            pl.col("start").dt.epoch("s").floordiv(seconds).alias("window"),
            "picos",
            "units",
        )
        for dimension in DIMENSIONS
    )
    members = windows.select("dimension", "member").unique(maintain_order=True).with_row_index("row")
    numbered = windows.join(members, on=["dimension", "member"]).sort("window", "row")
    names, states, said = members.rows(), anomaly.new_members(members.height), []
    for (window,), group in numbered.group_by("window", maintain_order=True):
        rows = group["row"].to_numpy()
        some = states[rows]
        found = anomaly.observe(
            some, np.full(len(rows), window), group["picos"].to_numpy(), group["units"].to_numpy(), detector
        )
        anomaly.publish(some, found, room=1_000)
        states[rows] = some
        said += [Said(*names[rows[each.position]][1:], each) for each in found]
        calm = anomaly.close_calm(states, np.full(len(states), window), detector)
        said += [Said(*names[each.position][1:], each) for each in calm]
    return said
