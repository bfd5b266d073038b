"""The Numenta Anomaly Benchmark's standard profile over the labelled series of the shared data.

python -m benchmarks.nab                      the series beside the repository
python -m benchmarks.nab --data FOLDER        other series with a windows.json
python -m benchmarks.nab --threshold 28       another threshold than the product's

One setting and one threshold for all series. Beside the score at the fixed threshold stands the best that any one
threshold would have had (the benchmark's own procedure), and the score when each folder's threshold is chosen on the
other folders.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.nab import detect
from benchmarks.nab.corpus import Series, corpus_folder, read_corpus
from benchmarks.nab.scorer import SeriesScore, score_series, total
from streams.errors import SpendError

_THRESHOLDS = np.arange(10.0, 60.0, 1.0)


def score(corpus: list[Series], surprise: list[np.ndarray], threshold: float) -> list[SeriesScore]:
    """Each series' score with incidents opened at one threshold."""
    return [
        score_series(len(series.times), series.windows, detect.openings(values, threshold))
        for series, values in zip(corpus, surprise, strict=True)
    ]


def left_out(corpus: list[Series], surprise: list[np.ndarray]) -> SeriesScore:
    """All series, each folder scored at the threshold that was best on the other folders."""
    by_threshold = {threshold: score(corpus, surprise, threshold) for threshold in _THRESHOLDS}
    folders = [series.name.split("/")[0] for series in corpus]
    chosen: list[SeriesScore] = []
    for folder in sorted(set(folders)):

        def raw_elsewhere(threshold: float, folder: str = folder) -> float:
            return total(s for s, own in zip(by_threshold[threshold], folders, strict=True) if own != folder).raw

        best = max(_THRESHOLDS, key=raw_elsewhere)
        chosen += [s for s, own in zip(by_threshold[best], folders, strict=True) if own == folder]
    return total(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=corpus_folder(), help="folder with windows.json and the series")
    parser.add_argument("--threshold", type=float, default=detect.THRESHOLD)
    args = parser.parse_args()
    console = Console()
    try:
        corpus = read_corpus(args.data)
    except SpendError as exc:
        console.print(f"[red]{exc}[/red]")
        return exc.exit_code
    surprise = detect.surprises(corpus)
    scores = score(corpus, surprise, args.threshold)
    table = Table(
        "series", "windows", "found", "false", "score", title=f"NAB, standard profile, threshold {args.threshold:g}"
    )
    for series, one in zip(corpus, scores, strict=True):
        figure = "-" if one.normalised is None else f"{one.normalised:.1f}"
        table.add_row(series.name, str(one.windows), str(one.found), str(one.false), figure)
    whole = total(scores)
    table.add_row("all", str(whole.windows), str(whole.found), str(whole.false), f"{whole.normalised or 0:.1f}")
    console.print(table)
    best = max(_THRESHOLDS, key=lambda threshold: total(score(corpus, surprise, threshold)).raw)
    console.print(f"best single threshold {best:g}: {total(score(corpus, surprise, best)).normalised or 0:.1f}")
    if len({series.name.split("/")[0] for series in corpus}) > 1:
        console.print(f"threshold chosen on the other folders: {left_out(corpus, surprise).normalised or 0:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
