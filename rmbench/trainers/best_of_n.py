"""Best-of-n: draw n responses, keep the one with the greatest reward. No weight changes (Stiennon et al. 2020).

What it costs is known without a second model: the policy that writes the best of n lies at most log n - (n - 1)/n nats
from the one that writes the n, and its expected reward is estimated without bias from one pool of N >= n responses for
every n up to N at once (Nakano et al. 2021). The trainer draws such pools on dev prompts and tells both.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.policy import Trained
from rmbench.store import canonical, write_whole
from rmbench.trainers import logs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rmbench.api import Sample
    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session
    from rmbench.trainers.pair_options import BestOfN

STATE = ".state"
SEEDS = 1_000_003  # apart: seeds of two trainings give no step the same seed
Pool = dict[str, Any]  # of a prompt: scores {name: [n values or None]}, words, tokens, finished [n], reason if unscored


def train(agent: Agent, judgements: Judgements, options: BestOfN, session: Session) -> Trained:
    """Return the decoding that writes the best of n; the weights stay as they are.

    ``curve.jsonl`` gets a row for n = 1, 2, 4, ... and the n of the options (``n``; ``step`` counts these rows), with
    reward and judges of the chosen response in expectation and as ``kl`` the analytic bound; ``log.jsonl`` a row for
    each batch of dev prompts. A killed run goes on with the batches that it had drawn.

    Raises:
        InputError: there is no reward, or it scored none of the responses.
        Interrupted: ``session.stop()`` said so.
    """
    if session.reward is None:
        raise InputError("best-of-n chooses by a reward and none is named", help='add reward = "NAME" to the entry')
    writing = {"best_of": options.n, "best_by": session.reward, "temperature": options.temperature, "beams": 1}
    samples = [sample for sample in judgements.dev.samples if sample.prompt.strip()]
    batches = [samples[at : at + options.batch] for at in range(0, len(samples), options.batch)][: options.steps]
    pools: list[Pool] = []
    log: list[dict[str, Any]] = []
    timings: list[dict[str, Any]] = []
    spent, stopped = 0.0, False
    for step, batch in enumerate(batches, 1):
        drawn, times = _drawn(agent, batch, step, options=options, session=session)
        pools += drawn
        log.append(_log_row(step, drawn, options.n, session.reward))
        timings.append({"step": step} | times)
        session.tell({"step": step, "steps": len(batches), "loss": None, "reward": log[-1]["reward"]})
        if session.stop():
            raise Interrupted(f"stopped after {step} of {len(batches)} batches; they are kept")
        spent += times["rollout"] + times["scoring"]
        stopped = options.seconds is not None and spent >= options.seconds
        if stopped:
            break
    _refuse_unscored(pools, session)
    curve = [_curve_row(step, n, pools, session.reward) for step, n in enumerate(powers(options.n))] if pools else []
    for name, rows in ((logs.LOG, log), (logs.CURVE, curve), (logs.TIMINGS, timings)):
        write_whole(session.folder / name, b"".join(map(logs.line, rows)))
    write_whole(session.folder / logs.MEASURES, canonical(_measures(agent, timings, spent)))
    notes = _notes(options.n, curve, pools, session.reward)
    if len(samples) < len(judgements.dev.samples):
        empty, every = len(judgements.dev.samples) - len(samples), len(judgements.dev.samples)
        notes.insert(0, f"{empty} of {every} prompts of dev {'is' if empty == 1 else 'are'} empty and left out")
    return Trained(0, "seconds" if stopped else "steps", writing, tuple(notes))


def kl_bound(n: int) -> float:
    """Return log n - (n - 1)/n, in nats: the KL divergence of best-of-n from its policy where no two rewards tie.

    Stiennon et al. 2020, appendix G.3. It is an upper bound (Beirami et al. 2024): where responses are few or rewards
    tie, the true divergence is less.
    """
    return math.log(n) - (n - 1) / n


def best_weights(pool: int, n: int) -> list[float]:
    """Return the chance that each of ``pool`` responses, from worst to best, is the best of n drawn of them.

    Without replacement: rank i (from 1) is the best of C(i - 1, n - 1) of the C(pool, n) draws. They sum to 1; n above
    the pool is a ``ValueError``.
    """
    if not 1 <= n <= pool:
        raise ValueError(f"n is {n}, expected 1 to {pool}, the responses of the pool")
    draws = math.comb(pool, n)
    return [math.comb(rank, n - 1) / draws for rank in range(pool)]


def expected_best(
    rewards: Sequence[float | None], n: int, values: Sequence[float | None] | None = None
) -> float | None:  # fmt: skip
    """Return the expected reward of the best of n, without bias, from a pool of at least n responses of one prompt.

    Nakano et al. 2021: the mean over all subsets of n of their best, here by the rank of each response.

    Args:
        rewards: of the pool, finite; they choose, equal ones equally often. A response without one is never chosen.
        n: from 1 to the size of the pool.
        values: what to average over the chosen instead, such as a judge's scores, one per reward.

    Returns:
        The mean over the choices that have a value; None where there is none.
    """
    values = rewards if values is None else values
    weights = best_weights(len(rewards), n)
    tied: dict[float, list[int]] = {}
    for row, reward in enumerate(rewards):
        if reward is not None:
            tied.setdefault(reward, []).append(row)
    place = len(rewards) - sum(len(rows) for rows in tied.values())  # those without a reward are ranked below all
    chosen: list[tuple[float, float]] = []
    for reward in sorted(tied):
        rows = tied[reward]
        share = math.fsum(weights[place : place + len(rows)]) / len(rows)
        place += len(rows)
        chosen += [(share, value) for value in (values[row] for row in rows) if value is not None]
    whole = math.fsum(share for share, _ in chosen)
    return math.fsum(share * value for share, value in chosen) / whole if whole else None


def powers(n: int) -> list[int]:
    """Return 1, 2, 4, ... below n, and n."""
    return [2**power for power in range(n.bit_length()) if 2**power < n] + [n]


def _drawn(
    agent: Agent, batch: Sequence[Sample], step: int, *, options: BestOfN, session: Session
) -> tuple[list[Pool], dict[str, Any]]:  # fmt: skip
    """Return the pools of a batch of prompts and what they took; those that a killed run left are read."""
    kept = session.folder / STATE / f"pools-{step:06d}.json"
    with suppress(OSError, ValueError):  # not there, or damaged: drawn again, the same
        pools, times = json.loads(kept.read_bytes())
        return pools, times
    decoding = replace(session.decoding, temperature=options.temperature, beams=1, best_of=1, best_by="")
    start = time.perf_counter()
    responses = agent.sample(batch, options.n, decoding, seed=session.runtime.seed * SEEDS + step)
    middle = time.perf_counter()
    rows = [sample for sample in batch for _ in range(options.n)]
    scored = session.judge(rows, [one.text for several in responses for one in several])
    named = {name: [_finite(value) for value in one.values] for name, one in scored.items()}
    reason = next(iter(scored[str(session.reward)].reasons.values()), "no reason given")
    pools = [
        {
            "scores": {name: found[at * options.n : (at + 1) * options.n] for name, found in named.items()},
            "words": [len(one.text.split()) for one in several], "tokens": [len(one.ids) for one in several],
            "finished": [one.finished for one in several], "reason": reason,
        }
        for at, several in enumerate(responses)
    ]  # fmt: skip
    tokens = sum(sum(pool["tokens"]) for pool in pools)
    times = {"rollout": middle - start, "scoring": time.perf_counter() - middle} | {"update": 0.0, "overhead": 0.0}
    times = {stage: round(seconds, 6) for stage, seconds in times.items()} | {"tokens": tokens, "trained": 0}
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, json.dumps([pools, times], allow_nan=False).encode())
    return pools, times


def _finite(value: float | None) -> float | None:
    """Return a score, None where it is no finite number."""
    return None if value is None or not math.isfinite(value) else float(value)


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is there, None of nothing."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def _log_row(step: int, pools: Sequence[Pool], n: int, reward: str) -> dict[str, Any]:
    rewards = [value for pool in pools for value in pool["scores"][reward]]
    return {
        "step": step, "loss": None, "lr": None, "grad_norm": None, "reward": _mean(rewards),
        "best": _mean(expected_best(pool["scores"][reward], n) for pool in pools),
        "unscored": rewards.count(None), "kl": kl_bound(n), "entropy": None,
        "length": _mean(length for pool in pools for length in pool["tokens"]),
    }  # fmt: skip


def _curve_row(step: int, n: int, pools: Sequence[Pool], reward: str) -> dict[str, Any]:
    """Return what the best of n is expected to be, as the mean over prompts."""

    def chosen(values: Sequence[Sequence[float | None]]) -> float | None:
        pairs = zip(pools, values, strict=True)
        return _mean(expected_best(pool["scores"][reward], n, own) for pool, own in pairs)

    names = [name for name in pools[0]["scores"] if name != reward]
    return {
        "step": step, "n": n, "reward": chosen([pool["scores"][reward] for pool in pools]),
        "judges": {name: chosen([pool["scores"][name] for pool in pools]) for name in names},
        "unscored": sum(pool["scores"][reward].count(None) for pool in pools), "kl": kl_bound(n), "entropy": None,
        "length": chosen([pool["words"] for pool in pools]), "distinct-2": None,
        "finished": chosen([pool["finished"] for pool in pools]),
    }  # fmt: skip


def _measures(agent: Agent, timings: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    rate = sum(row["tokens"] for row in timings) / seconds if seconds else None
    parameters = sum(weight.numel() for weight in agent.module.parameters())
    return {"seconds": seconds, "tokens_per_second": rate, "parameters": parameters}


def _refuse_unscored(pools: Sequence[Pool], session: Session) -> None:
    values = [value for pool in pools for value in pool["scores"][session.reward]]
    if values and all(value is None for value in values):
        raise InputError(
            f"reward {session.reward!r} scored none of {len(values)} responses: {pools[0]['reason']}",
            where=str(session.recipe.get("name") or "best-of-n"),
            help="look at the reward on this task with: rmbench score",
        )  # fmt: skip


def _notes(n: int, curve: Sequence[dict[str, Any]], pools: Sequence[Pool], reward: str) -> list[str]:
    notes = [f"best of {n} lies at most {kl_bound(n):.3f} nats from the policy at its temperature (log n - (n - 1)/n)"]
    if not pools:
        return [*notes, "there are no prompts of dev: nothing was drawn, and the curve is empty"]
    unscored, drawn = curve[0]["unscored"], n * len(pools)
    if unscored:
        notes.append(f"{unscored} of {drawn} responses were unscored: they are not chosen")
    if all(len({*pool["scores"][reward]} - {None}) < 2 for pool in pools):  # noqa: PLR2004 - one value is constant
        return [*notes, f"the reward {reward} is the same for all responses of each prompt: it chooses by chance"]
    first, last = curve[0]["reward"], curve[-1]["reward"]
    return [
        *notes,
        f"{reward} on {len(pools)} dev prompts: {first:.4g} for one response, {last:.4g} for the best of {n}",
    ]
