"""Best-of-n: draw n responses, keep the one with the greatest reward. No weight changes (Stiennon et al. 2020).

What it costs is known without a second model: the policy that writes the best of n lies at most log n - (n - 1)/n nats
from the one that writes the n, and its expected reward is estimated without bias from one pool of N >= n responses for
every n up to N at once (Nakano et al. 2021). The trainer draws such pools on dev prompts and tells both.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.policy import Trained
from rmbench.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rmbench.api import Sample
    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Decoding, Session
    from rmbench.trainers.pair_options import BestOfN

Pool = dict[str, Any]  # of one prompt: scores {name: [n values or None]}, words [n], tokens [n], finished [n]


def train(agent: Agent, judgements: Judgements, options: BestOfN, session: Session) -> Trained:
    """Return the decoding that writes the best of n; the weights stay as they are.

    ``curve.jsonl`` gets a row for n = 1, 2, 4, ... and the n of the options (``n``; ``step`` counts these rows), with
    the reward and the judges of the chosen response in expectation and ``kl`` the analytic bound; ``log.jsonl`` a row
    for each batch of prompts. A killed run goes on with the batches that it had drawn.

    Raises:
        InputError: there is no reward, or it scored none of the responses.
        Interrupted: ``session.stop()`` said so.
    """
    if session.reward is None:
        raise InputError("best-of-n chooses by a reward and none is named", help='add reward = "NAME" to the entry')
    writing = {"best_of": options.n, "best_by": session.reward, "temperature": options.temperature, "beams": 1}
    drawing = replace(session.decoding, temperature=options.temperature, beams=1, best_of=1, best_by="")
    samples = [sample for sample in judgements.dev.samples if sample.prompt.strip()]
    notes = [f"{len(judgements.dev.samples) - len(samples)} empty dev prompts were left out"]
    notes = notes if len(samples) < len(judgements.dev.samples) else []
    pools: list[Pool] = []
    log, timings, began, stopped = [], [], time.monotonic(), "steps"
    for step in range(1, min(options.steps, -(-len(samples) // options.batch)) + 1):
        batch = samples[(step - 1) * options.batch : step * options.batch]
        drawn, times = _drawn(agent, batch, step, options=options, session=session, decoding=drawing)
        pools += drawn
        log.append(_log_row(step, drawn, options.n, session.reward))
        timings.append({"step": step} | times)
        session.tell({"step": step, "steps": options.steps, "loss": None, "reward": log[-1]["reward"]})
        if session.stop():
            raise Interrupted
        if options.seconds is not None and time.monotonic() - began >= options.seconds:
            stopped = "seconds"
            break
    _refuse_unscored(pools, session.reward)
    curve = [_curve_row(step, n, pools, session.reward) for step, n in enumerate(powers(options.n))] if pools else []
    for name, rows in (("log.jsonl", log), ("curve.jsonl", curve), (".timings.jsonl", timings)):
        write_whole(session.folder / name, _lines(rows))
    notes += _notes(options.n, curve, pools, session.reward)
    return Trained(
        steps=0, stopped="seconds" if stopped == "seconds" else "steps", decoding=writing, notes=tuple(notes)
    )


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

    Nakano et al. 2021, section 3.3: the mean over all subsets of n of their best, here by the rank of each response.

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
    agent: Agent, batch: Sequence[Sample], step: int, *, options: BestOfN, session: Session, decoding: Decoding
) -> tuple[list[Pool], dict[str, Any]]:  # fmt: skip
    """Return the pools of a batch of prompts and what they took; those that a killed run left are read."""
    kept = session.folder / ".state" / f"pools-{step:06d}.json"
    if kept.is_file():
        pools, times = json.loads(kept.read_bytes())
        return pools, times
    start = time.monotonic()
    responses = agent.sample(batch, options.n, decoding, seed=session.runtime.seed * 1_000_003 + step)
    middle = time.monotonic()
    rows = [sample for sample in batch for _ in range(options.n)]
    scored = session.judge(rows, [one.text for several in responses for one in several])
    pools = [
        {
            "scores": {name: one.values[i * options.n : (i + 1) * options.n] for name, one in scored.items()},
            "words": [len(one.text.split()) for one in several], "tokens": [len(one.ids) for one in several],
            "finished": [one.finished for one in several],
        }
        for i, several in enumerate(responses)
    ]  # fmt: skip
    times = {
        "rollout": middle - start, "scoring": time.monotonic() - middle, "update": 0.0, "overhead": 0.0,
        "tokens": sum(sum(pool["tokens"]) for pool in pools), "trained": 0,
    }  # fmt: skip
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, json.dumps([pools, times], allow_nan=False).encode())
    return pools, times


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


def _refuse_unscored(pools: Sequence[Pool], reward: str) -> None:
    values = [value for pool in pools for value in pool["scores"][reward]]
    if values and all(value is None for value in values):
        raise InputError(
            f"scored none of the {len(values)} responses drawn on dev prompts: best-of-n has nothing to choose by",
            where=f"reward {reward}", help="see why in the log of the reward, or choose by another",
        )  # fmt: skip


def _notes(n: int, curve: Sequence[dict[str, Any]], pools: Sequence[Pool], reward: str) -> list[str]:
    notes = [f"best of {n} lies at most {kl_bound(n):.3f} nats from the policy at its temperature (log n - (n - 1)/n)"]
    if not pools:
        return [*notes, "there are no dev prompts: nothing was drawn, and the curve is empty"]
    if all(len({*pool["scores"][reward]} - {None}) < 2 for pool in pools):  # noqa: PLR2004 - one value is constant
        return [*notes, f"the reward {reward} is the same for all responses of each prompt: it chooses by chance"]
    first, last = curve[0]["reward"], curve[-1]["reward"]
    return [
        *notes,
        f"on {len(pools)} dev prompts {reward} is {first:.4g} for one response and {last:.4g} for the best of {n}",
    ]


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()
