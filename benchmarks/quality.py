"""How good the anomaly detector is, in short: `benchmarks.nab` and `benchmarks.incidents` with their own settings."""

import time

from benchmarks import incidents
from benchmarks.figures import Figure, Section
from benchmarks.nab import __main__ as nab
from benchmarks.nab import detect
from benchmarks.nab.corpus import corpus_folder, read_corpus
from benchmarks.nab.scorer import total

MEMBERS, SEED = 320, 1


def measure() -> Section:
    """Score both. The labelled series are left out where they are not there.

    Raises:
        SpendError: a series cannot be read.
    """
    section = Section(
        "Anomalies on labelled data",
        f"One setting for all. Synthetic: {MEMBERS} members, {incidents.DAYS} days, half of the members with an "
        "incident; `python -m benchmarks.incidents` says more, `benchmarks.nab` likewise of each series. How forecasts "
        "hold takes minutes: `python -m benchmarks.forecast`; its figures are in docs/anomalies.md.",
    )
    if corpus_folder().is_dir():
        corpus = read_corpus(corpus_folder())
        whole = total(nab.score(corpus, detect.surprises(corpus), detect.THRESHOLD))
        score = whole.normalised or 0.0
        section.figures.append(
            Figure(f"NAB, standard profile, {len(corpus)} series", f"{score:.1f}", "", "at least 60", score >= 60)
        )
        section.figures.append(Figure("its windows found", f"{whole.found} of {whole.windows}"))
        section.figures.append(Figure("its false openings", f"{whole.false}"))
    began = time.process_time()
    members = incidents.make_members(MEMBERS, SEED)
    opened = incidents.alerts(members)
    _, count, in_time, _, ever = incidents.recall(members, opened)[-1]
    _, _, wrong, _ = incidents.false_alerts(members, opened)[-1]
    share, false_each = 100 * in_time / count, wrong * 30 / incidents.DAYS / MEMBERS
    found = Figure("synthetic incidents found in 5 minutes", f"{share:.1f} %", "", "at least 95 %", share >= 95)
    section.figures.append(found)
    section.figures.append(Figure("found at all", f"{100 * ever / count:.1f} %"))
    most = Figure("false alerts a member and 30 days", f"{false_each:.2f}", "", "at most 1", false_each <= 1)
    section.figures.append(most)
    section.figures.append(Figure("processor time of making and judging them", f"{time.process_time() - began:.0f} s"))
    return section
