"""What a policy writes on the test split: one response a prompt, and how far it has moved from its start."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rmbench.policy import Decoding
from rmbench.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rmbench.api import Sample
    from rmbench.policy import Agent, Response, Scored, Session

ROWS = 512  # responses written at once
KL_ROWS = 64  # responses whose logits are held at once, twice
OUTPUTS, POOL = "outputs.jsonl", "pool.jsonl"


def write_outputs(
    agent: Agent, samples: Sequence[Sample], decoding: Decoding, session: Session, *, measured: bool
) -> list[str]:
    """Let a policy write, and keep it: ``outputs.jsonl``, and ``pool.jsonl`` where the best of several is taken.

    Args:
        agent: the policy.
        samples: of the test split; one row of the file each: ``id``, ``text``, ``tokens``, ``finished``, ``sampled``
            (one response at temperature 1), ``kl`` (nats).
        decoding: how it writes.
        session: folder, seed, the start and the judges.
        measured: whether KL to the start is; else ``sampled`` and ``kl`` are null.

    Returns:
        What the user should know.
    """
    seed = session.runtime.seed
    chosen: list[Response] = []
    pool: list[dict[str, Any]] = []
    notes: list[str] = []
    for number, some in enumerate(_cut(samples, max(1, ROWS // decoding.best_of))):
        if session.stop():
            from rmbench.judged import Interrupted

            raise Interrupted
        found = agent.sample(some, decoding.best_of, decoding, seed=_seed(seed, number))
        if decoding.best_of > 1:
            best, rows = _best(some, found, decoding.best_by, session)
            chosen += best
            pool += rows
        else:
            chosen += [one[0] for one in found]
        session.tell({"written": len(some), "rows": len(samples)})
    drawn = _sampled(agent, samples, decoding, session) if measured else [(None, None)] * len(samples)
    lines = [
        {"id": sample.id, "text": one.text, "tokens": len(one.ids), "finished": one.finished, "sampled": text, "kl": kl}
        for sample, one, (text, kl) in zip(samples, chosen, drawn, strict=True)
    ]
    write_whole(session.folder / OUTPUTS, _packed(lines))
    if pool:
        write_whole(session.folder / POOL, _packed(pool))
    if unfinished := sum(not one.finished for one in chosen):
        notes.append(f"{unfinished} of {len(chosen)} outputs reached {decoding.max_tokens} tokens without an end")
    return notes


def _packed(lines: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in lines).encode()


def _cut(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for first in range(0, len(samples), size):
        yield samples[first : first + size]


def _seed(seed: int, number: int) -> int:
    """Return a seed of its own for each call, so that no two calls draw the same numbers."""
    return (seed * 1_000_003 + number) % 2**63


def _best(
    samples: Sequence[Sample], found: Sequence[Sequence[Response]], by: str, session: Session
) -> tuple[list[Response], list[dict[str, Any]]]:
    """Return the best response of each sample by a reward (the first where none has a score), and the pool's rows."""
    owners = [sample for sample, some in zip(samples, found, strict=True) for _ in some]
    texts = [one.text for some in found for one in some]
    judged: Mapping[str, Scored] = session.judge(owners, texts)
    best, rows, at = [], [], 0
    for sample, some in zip(samples, found, strict=True):
        mine = {name: list(column.values[at : at + len(some)]) for name, column in judged.items()}
        place = max(range(len(some)), key=lambda i: (mine[by][i] is not None, mine[by][i] or 0.0, -i))
        best.append(some[place])
        rows.append({"id": sample.id, "scores": mine, "words": [len(one.text.split()) for one in some]})
        at += len(some)
    return best, rows


def _sampled(
    agent: Agent, samples: Sequence[Sample], decoding: Decoding, session: Session
) -> list[tuple[str | None, float | None]]:
    """Return one response per sample at temperature 1 with its exact KL to the start, summed over its places."""
    if session.start is None or agent.module is None:  # an agent without torch has no logits to compare
        return [(None, None)] * len(samples)
    import torch

    from rmbench.trainers.estimators import exact_kl

    start = session.start()
    plain = Decoding(max_tokens=decoding.max_tokens, temperature=1.0)
    found: list[tuple[str | None, float | None]] = []
    for number, some in enumerate(_cut(samples, KL_ROWS)):
        responses = [one[0] for one in agent.sample(some, 1, plain, seed=_seed(session.runtime.seed + 1, number))]
        with torch.no_grad():
            now, then = agent.forward(some, responses), start.forward(some, responses)
            far = exact_kl(now.logits, then.logits, now.mask)
        found += [(one.text, value) for one, value in zip(responses, far.double().tolist(), strict=True)]
    return found
