"""Calls as usage events: who made them, through what, how they ended, and what they counted."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from streams.event_columns import event_batch
from streams.sample.arrivals import DAY_US, NO_CUSTOMER, Arrivals
from streams.sample.columns import choose, choose_counts, hex_ids, indices, instants, named, pick, whole
from streams.sample.counts import ABORTED, ANSWERED, CAN_FAIL, FAILED, NULL, OK, UNITS, Counts, count
from streams.sample.organisation import Organisation

USERS = 40  # of each customer, and of the organisation itself
ANSWERED_SHARE, BYPASS_SHARE = 0.04, 0.06
ERRORS = ("rate_limit_exceeded", "overloaded", "server_error")
ABORTS = ("client_disconnect", "timeout")


@dataclass(frozen=True)
class Calls:
    """Calls before their counts are known: arrays of one length, indices into the organisation's lists."""

    time: np.ndarray  # end of the call, us since 1970
    lag_us: np.ndarray  # from the end of the call to the event's emission
    workload: np.ndarray
    customer: np.ndarray
    variant: np.ndarray
    gateway: np.ndarray
    user: np.ndarray
    fate: np.ndarray
    attempt: np.ndarray
    first: np.ndarray  # row of the call that this one tries again, NULL when it is the first
    context: np.ndarray  # tokens of input beyond a usual call's: above 0 in a loop that runs away
    spoilt: np.ndarray  # index of what is wrong with the event's record (streams/sample/spoil.py), NULL: nothing

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: np.ndarray) -> "Calls":
        """These rows, in this order; rows named in `first` keep their numbers."""
        return Calls(**{name: column[rows] for name, column in vars(self).items()})

    def then(self, others: "Calls") -> "Calls":
        """These calls and then the others."""
        return Calls(**{name: np.concatenate([column, vars(others)[name]]) for name, column in vars(self).items()})

    def in_order_of_emission(self) -> "Calls":
        """The same calls as their events are sent."""
        order = np.argsort(self.time + self.lag_us, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        sent = self.take(order)
        return replace(sent, first=np.where(sent.first == NULL, NULL, place[sent.first]))


def draw_calls(org: Organisation, rng: np.random.Generator, arrivals: Arrivals) -> Calls:
    """First attempts at these arrivals, each with its fate: some aborted, some answered by a gateway, none failed."""
    size = len(arrivals.time)
    variant = np.zeros(size, np.int64)
    for index in range(len(org.workloads)):
        of = np.flatnonzero(arrivals.workload == index)
        kinds = [n for n, v in enumerate(org.variants) if v.workload == index]
        variant[of] = np.asarray(kinds)[pick(rng, [org.variants[n].weight for n in kinds], len(of))]
    gateway = pick(rng, list(org.gateways.values()), size)
    fallible = np.array([v.call.shape in CAN_FAIL for v in org.variants])[variant]
    cached = np.array([w.answer_cache for w in org.workloads])[arrivals.workload] & (gateway != _direct(org))
    chance = rng.random(size)
    fate = np.where(cached & (chance < ANSWERED_SHARE), ANSWERED, OK)
    aborted = org.faults.aborted / max(fallible.mean() if size else 0.0, 0.1)  # the share is one of all events
    fate = np.where(fallible & (chance > 1 - aborted), ABORTED, fate)
    return Calls(
        time=arrivals.time,
        lag_us=rng.integers(40_000, 900_000, size),
        workload=arrivals.workload,
        customer=arrivals.customer,
        variant=variant,
        gateway=gateway,
        user=np.minimum(rng.zipf(1.4, size) - 1, USERS - 1),
        fate=fate,
        attempt=np.ones(size, np.int64),
        first=np.full(size, NULL),
        context=np.zeros(size, np.int64),
        spoilt=np.full(size, NULL),
    )


def usage_events(org: Organisation, rng: np.random.Generator, calls: Calls, instance: str) -> pa.RecordBatch:
    """One usage event a call, in the same order.

    `instance` tells this run's sources from any other run's: a source numbers its events.
    """
    size = len(calls)
    counts = count(org, rng, calls.variant, calls.fate, calls.context)
    ids = hex_ids(rng, size, 16)
    given: dict[str, pa.Array] = {
        "id": ids,
        "time": instants(calls.time),
        "start_time": instants(calls.time - counts.duration_ms * 1000),
        "emitted_at": instants(calls.time + calls.lag_us),
        "trace_id": hex_ids(rng, size, 16),
        "response_id": hex_ids(rng, size, 12),
        "prompt_hash": hex_ids(rng, size, 8),
        "attempt": pa.array(calls.attempt),
        "retry_of": ids.take(indices(calls.first)),
        "duration_ms": pa.array(counts.duration_ms),
        **{name: whole(values) for name, values in counts.tokens.items()},
        "quantities": _quantities(counts),
        **_service(org, calls),
        **_ending(rng, calls),
        **_attribution(org, rng, calls),
        **_work(org, rng, calls, counts),
    }
    minted_by = given["gateway"].fill_null(pa.scalar("direct"))
    given["source"] = pc.binary_join_element_wise(minted_by, instance, "/")
    given["raw_usage"] = _raw_usage(rng, given)
    return event_batch(given, size)


def _service(org: Organisation, calls: Calls) -> dict[str, pa.Array]:
    """What was called, and how it was served."""
    kinds = org.variants
    day = calls.time // DAY_US
    batched = np.array([v.tier == "batch" for v in kinds])[calls.variant]
    return {
        "provider": choose([v.call.provider for v in kinds], calls.variant),
        "request_model": choose([v.call.model for v in kinds], calls.variant),
        "response_model": choose(
            [v.call.answers for v in kinds], np.where(np.isin(calls.fate, [FAILED, ANSWERED]), NULL, calls.variant)
        ),
        "operation": choose([v.call.operation for v in kinds], calls.variant),
        "cost_category": choose([v.call.cost_category for v in kinds], calls.variant),
        "server": choose([v.call.server for v in kinds], calls.variant),
        "region": choose([v.call.region for v in kinds], calls.variant),
        "service_tier": choose([None if v.tier == "batch" else v.tier for v in kinds], calls.variant),
        "is_batch": pa.array(batched),
        "batch_id": named(np.where(batched, day * len(kinds) + calls.variant, NULL), "batch_"),
    }


def _ending(rng: np.random.Generator, calls: Calls) -> dict[str, pa.Array]:
    size = len(calls)
    reasons = ["stop", "tool_calls", "length"]
    finish = np.where(calls.fate == OK, pick(rng, [88, 8, 4], size), NULL)
    error = np.where(calls.fate == FAILED, rng.integers(0, len(ERRORS), size), NULL)
    error = np.where(calls.fate == ABORTED, len(ERRORS) + rng.integers(0, len(ABORTS), size), error)
    return {
        "usage_status": choose(["final", "partial"], (calls.fate == ABORTED).astype(np.int64)),
        "finish_reason": choose(reasons, finish),
        "error_type": choose([*ERRORS, *ABORTS], error),
        "stream": pa.array(rng.random(size) < 0.6),
        "max_tokens": choose_counts(
            [4096, 8192, 16384], np.where(rng.random(size) < 0.5, rng.integers(0, 3, size), NULL)
        ),
    }


def _attribution(org: Organisation, rng: np.random.Generator, calls: Calls) -> dict[str, pa.Array]:
    """Who and what for; fields are left out at the organisation's rates."""
    size = len(calls)
    nobody = rng.random(size) < org.unattributed["all"]

    def known(field: str, index: np.ndarray) -> np.ndarray:
        left_out = nobody | (rng.random(size) < org.unattributed.get(field, 0.0))
        return np.where(left_out, NULL, index)

    works, customers = org.workloads, list(org.customers)
    projects = [(n, project) for n, workload in enumerate(works) for project in workload.projects]
    first = np.array([next(i for i, (of, _) in enumerate(projects) if of == n) for n in range(len(works))])
    several = np.array([len(workload.projects) for workload in works])
    project = first[calls.workload] + calls.customer % several[calls.workload]
    users = [
        hashlib.sha256(f"{name}/{n}".encode()).hexdigest()[:32] for name in [*customers, org.name] for n in range(USERS)
    ]
    owner = np.where(calls.customer == NO_CUSTOMER, len(customers), calls.customer)
    user = owner * USERS + calls.user
    conversation = (user * len(works) + calls.workload) * 2**20 + calls.time // DAY_US
    environment = pick(rng, list(org.environments.values()), size)
    environment[calls.context > 0] = list(org.environments).index(org.story.runaway.environment)
    keys = [f"key-{workload.service}-{name}" for workload in works for name in org.environments]
    key = np.where(nobody, len(keys), calls.workload * len(org.environments) + environment)
    return {
        "workload": choose([w.name for w in works], known("workload", calls.workload)),
        "customer": choose(customers, known("customer", calls.customer)),
        "team": choose([w.team for w in works], known("team", calls.workload)),
        "project": choose([name for _, name in projects], known("project", project)),
        "service": choose([w.service for w in works], known("service", calls.workload)),
        "user": choose(users, known("user", user)),
        "environment": choose(list(org.environments), known("environment", environment)),
        "workflow": choose([w.workflow for w in works], known("workflow", calls.workload)),
        "agent": _agents(org, rng, calls, nobody),
        "gateway": choose(list(org.gateways), np.where(nobody | (calls.gateway == _direct(org)), NULL, calls.gateway)),
        "api_key_id": choose([*keys, "key-personal"], key),
        "conversation_id": named(known("conversation", conversation), "conv_"),
    }


def _agents(org: Organisation, rng: np.random.Generator, calls: Calls, nobody: np.ndarray) -> pa.Array:
    agents = [agent for workload in org.workloads for agent in workload.agents]
    several = np.array([len(workload.agents) for workload in org.workloads])
    before = np.cumsum(several) - several
    of = before[calls.workload] + rng.integers(0, 1 << 30, len(calls)) % np.maximum(several[calls.workload], 1)
    return choose(agents, np.where(nobody | (several[calls.workload] == 0), NULL, of))


def _work(org: Organisation, rng: np.random.Generator, calls: Calls, counts: Counts) -> dict[str, pa.Array]:
    """What the calls produced, the gateway's cache, the release, and free tags."""
    size = len(calls)
    units = [workload.unit for workload in org.workloads]
    made = np.where(counts.pictures > 0, counts.pictures, np.where(rng.random(size) < 0.3, 1, NULL))
    made = np.where(np.isin(calls.fate, [OK, ANSWERED]), made, NULL)
    looked = np.array([w.answer_cache for w in org.workloads])[calls.workload] & (calls.gateway != _direct(org))
    outcome = np.where(rng.random(size) < BYPASS_SHARE, 2, 1)
    outcome = np.where(calls.fate == ANSWERED, 0, outcome)
    week = calls.time // (7 * DAY_US)
    teams = sorted({workload.team for workload in org.workloads})
    tags: list[list[tuple[str, str]]] = [[]]
    tags += [
        [("cost_center", f"cc-{100 + teams.index(workload.team)}"), *extra]
        for workload in org.workloads
        for extra in ([], [("experiment", "shorter-prompts")])
    ]
    tagged = np.where(rng.random(size) < 0.7, 1 + calls.workload * 2 + (rng.random(size) < 0.15), 0)
    return {
        "unit_type": choose(units, np.where(made == NULL, NULL, calls.workload)),
        "unit_count": whole(made),
        "cache_outcome": choose(["hit", "miss", "bypass"], np.where(looked, outcome, NULL)),
        "release": named(week % 1000, "r"),
        "tags": pa.array(tags, pa.map_(pa.string(), pa.string())).take(indices(tagged)),
    }


def _raw_usage(rng: np.random.Generator, given: dict[str, pa.Array]) -> pa.Array:
    """The usage object as OpenAI sends it, on a tenth of its chats."""
    names = ("provider", "input_tokens", "cache_read_input_tokens", "output_tokens")
    frame = pl.DataFrame({name: pl.from_arrow(given[name]) for name in names})
    said = pl.concat_str(
        pl.lit('{"input_tokens":'),
        "input_tokens",
        pl.lit(',"input_tokens_details":{"cached_tokens":'),
        "cache_read_input_tokens",
        pl.lit('},"output_tokens":'),
        "output_tokens",
        pl.lit("}"),
    )
    chosen = (pl.col("provider") == "openai") & pl.Series(rng.random(frame.height) < 0.1)
    return frame.select(pl.when(chosen).then(said).alias("raw_usage"))["raw_usage"].to_arrow()


def _direct(org: Organisation) -> int:
    return list(org.gateways).index("direct")


def _quantities(counts: Counts) -> pa.Array:
    has = counts.unit != NULL
    offsets = np.concatenate([[0], np.cumsum(has)]).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(offsets), choose(list(UNITS), counts.unit[has]), pa.array(counts.amount[has], pa.int64())
    )
