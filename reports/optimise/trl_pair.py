"""Our GRPO beside TRL's: python reports/optimise/trl_pair.py [--seeds 5] [--out trl_pair.json].

Both begin with the same weights and tokenizer (a tiny policy after some supervised steps on multi30k-ende), draw the
same number of responses to prompts of the same task, at the same temperature and to the same length, have the same
reward score them (chrF against the reference), and make the same steps: the same loss, clip, coefficient and estimator
of KL, AdamW, learning rate, micro-batches (of a size that suits TRL on a CPU), threads. Each draws its own random
numbers and its own order of the prompts.

Written: the reward reached (mean of the last steps, and held-out: of responses to prompts of dev) with the spread over
seeds and the interval of the difference; tokens a second of both (generated and trained), in interleaved short rounds,
by the clock and by the processor's; and shares of drawing, scoring, update and overhead.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.api import Runtime
from rmbench.policies.options import Tiny
from rmbench.policy import Scored, Session
from rmbench.trainers.options import Grpo, Sft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rmbench.api import Sample
    from rmbench.judged import Judgements

REPO = Path(__file__).resolve().parent.parent.parent
PLUGIN = REPO / "plugins" / "rmbench-trl"
COMMAND = "python reports/optimise/trl_pair.py"
PACKAGES = ("rmbench", "torch", "transformers", "trl", "accelerate", "tokenizers", "numpy")
NAMES = {"rmbench": "rmbench `grpo`", "trl": "TRL GRPOTrainer"}
STAGES = ("rollout", "scoring", "update", "overhead")
POLICY = Tiny(layers=3, width=128, heads=4, vocabulary=4000, max_prompt=64, max_tokens=32)
START = Sft(steps=600, batch=32, learning_rate=2e-3, evaluations=1, evaluation_prompts=16)
OPTIONS = Grpo(
    steps=60, batch=8, group=8, learning_rate=2e-4, kl=0.05, clip=1.0, epsilon=0.2, temperature=1.0, evaluations=1,
    evaluation_prompts=128, micro_batch=16, threads=2,
)  # fmt: skip
T975 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}  # Student's t


@dataclass(frozen=True, slots=True)
class Setting:
    """What both train from: the data, the start's folder, how it writes, the options, and the reward."""

    judgements: Judgements
    start: Path
    policy: Tiny
    options: Grpo
    reward: Callable[..., list[float | None]]


@dataclass(slots=True)
class Meter:
    """Scores, and notes when it was asked: between two calls lies one step of a trainer, whichever it is."""

    reward: Callable[..., list[float | None]]
    marks: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, samples: Sequence[Sample], texts: Sequence[str]) -> Scored:
        """Return the reward of each text."""
        self.marks.append((time.perf_counter(), time.process_time()))
        return self.scored(samples, texts)

    def scored(self, samples: Sequence[Sample], texts: Sequence[str]) -> Scored:
        """Return the reward of each text, unnoted."""
        prompts, references = [one.prompt for one in samples], [list(one.references) for one in samples]
        return Scored(tuple(self.reward(prompts=prompts, completions=list(texts), references=references)))

    def judged(self, samples: Sequence[Sample], texts: Sequence[str]) -> dict[str, Scored]:
        """Return the reward as a curve's judges are given."""
        return {"chrf": self.scored(samples, texts)}


@dataclass(frozen=True, slots=True)
class Course:
    """What a training gave and took.

    Attributes:
        rewards: of each step.
        held_out: reward of dev's prompts, before and at the end.
        kl: nats a response to the start, at the end, exact.
        shares: of the stages, of all steps but the first.
        tokens, wall, processor: generated and trained between the marks, and the seconds of that.
    """

    rewards: tuple[float, ...]
    held_out: tuple[float, float]
    kl: float
    shares: dict[str, float]
    tokens: int
    wall: float
    processor: float


def prepare(judgements: Judgements, folder: Path, *, policy: Tiny, start: Sft, options: Grpo) -> Setting:
    """Make the start: a new policy and some supervised steps."""
    from rmbench import to_trl
    from rmbench.policies import tiny
    from rmbench.trainers import sft

    runtime = Runtime(seed=1)
    agent = tiny.build(judgements, policy, runtime)
    reward = to_trl("chrf")
    with tempfile.TemporaryDirectory() as place:
        given = Session(Path(place), {"name": "sft"}, runtime, policy, judge=Meter(reward).judged, reward="chrf")
        sft.train(agent, judgements, start, given)
    agent.save(folder)
    return Setting(judgements, folder, policy, options, reward)


def train(setting: Setting, kind: str, seed: int) -> Course:
    """Train with one of the two."""
    from rmbench.policies import tiny

    runtime, meter = Runtime(seed=seed), Meter(setting.reward)
    with tempfile.TemporaryDirectory() as place:
        given = Session(
            Path(place), {"name": kind}, runtime, setting.policy, score=meter, judge=meter.judged, reward="chrf",
            start=lambda: tiny.load(setting.start, setting.policy, runtime),
        )  # fmt: skip
        agent = tiny.load(setting.start, setting.policy, runtime)
        TRAINERS[kind](agent, setting.judgements, setting.options, given)
        return _course(Path(place), meter)


def _ours(agent: Any, judgements: Judgements, options: Grpo, session: Session) -> None:
    from rmbench.trainers import grpo

    grpo.train(agent, judgements, options, session)


def _theirs(agent: Any, judgements: Judgements, options: Grpo, session: Session) -> None:
    import rmbench_trl
    from rmbench_trl.options import TrlGrpo, TrlOnPolicy

    shared = set(TrlOnPolicy.__dataclass_fields__) & set(Grpo.__dataclass_fields__) | {"normalisation", "scale"}
    rmbench_trl.train_grpo(agent, judgements, TrlGrpo(**{name: getattr(options, name) for name in shared}), session)


TRAINERS: dict[str, Callable[..., None]] = {"rmbench": _ours, "trl": _theirs}


def _course(folder: Path, meter: Meter) -> Course:
    log, curve, timings = (_rows(folder / name) for name in ("log.jsonl", "curve.jsonl", ".timings.jsonl"))
    later = timings[1:] or timings
    seconds = {stage: math.fsum(row[stage] for row in later) for stage in STAGES}
    whole = math.fsum(seconds.values())
    tokens = sum(row["trained"] + after["tokens"] for row, after in pairwise(timings[1:]))
    (wall, processor), (wall_end, processor_end) = meter.marks[min(1, len(meter.marks) - 1)], meter.marks[-1]
    return Course(
        rewards=tuple(row["reward"] for row in log), held_out=(curve[0]["reward"], curve[-1]["reward"]),
        kl=curve[-1]["kl"], shares={stage: value / whole for stage, value in seconds.items()}, tokens=tokens,
        wall=wall_end - wall, processor=processor_end - processor,
    )  # fmt: skip


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rounds(setting: Setting, count: int, steps: int) -> list[dict[str, Course]]:
    """Return short trainings of both, one after the other, which begins changing from round to round."""
    options = replace(setting.options, steps=steps, evaluations=1, evaluation_prompts=1)
    short, found = replace(setting, options=options), []
    for number in range(count):
        order = ("rmbench", "trl") if number % 2 else ("trl", "rmbench")
        found.append({kind: train(short, kind, 100 + number) for kind in order})
    return found


def compare(setting: Setting, seeds: Sequence[int], *, timed: Sequence[dict[str, Course]] = (), tail: int = 10) -> Any:
    """Train both from each seed and return what was found, as it is written."""
    runs = {seed: {kind: train(setting, kind, seed) for kind in TRAINERS} for seed in seeds}
    reached = {
        kind: {
            "last_steps": [statistics.fmean(one[kind].rewards[-tail:]) for one in runs.values()],
            "held_out": [one[kind].held_out[1] for one in runs.values()], "kl": [one[kind].kl for one in runs.values()],
        } for kind in TRAINERS
    }  # fmt: skip
    first = next(iter(runs.values()))
    return {
        "seeds": list(seeds), "tail": tail, "start_held_out": first["rmbench"].held_out[0], "reached": reached,
        "difference": {
            what: difference(reached["rmbench"][what], reached["trl"][what]) for what in ("last_steps", "held_out")
        },
        "speed": speed(timed or list(runs.values())),
        "shares": {kind: _median_shares([one[kind] for one in runs.values()]) for kind in TRAINERS},
        "curves": {kind: [list(one[kind].rewards) for one in runs.values()] for kind in TRAINERS},
    }  # fmt: skip


def difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Return the mean of the seeds' differences with its 95 % interval (Student's t), None with one seed."""
    pairs = [one - two for one, two in zip(ours, theirs, strict=True)]
    mean, count = statistics.fmean(pairs), len(pairs)
    if count == 1:
        return {"mean": mean, "interval": None, "within_noise": None}
    half = T975.get(count - 1, 1.96) * statistics.stdev(pairs) / math.sqrt(count)
    return {"mean": mean, "interval": [mean - half, mean + half], "within_noise": abs(mean) <= half}


def speed(pairs: Sequence[dict[str, Course]]) -> dict[str, Any]:
    """Return tokens a second of both and their ratio: median, least and most over the rounds."""
    found: dict[str, Any] = {"rounds": len(pairs)}
    for clock in ("wall", "processor"):
        rates = {kind: [one[kind].tokens / getattr(one[kind], clock) for one in pairs] for kind in TRAINERS}
        ratios = [one / two for one, two in zip(rates["rmbench"], rates["trl"], strict=True)]
        found[clock] = {kind: _spread(values) for kind, values in {**rates, "ratio": ratios}.items()}
    return found


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _median_shares(courses: Sequence[Course]) -> dict[str, float]:
    return {stage: statistics.median(one.shares[stage] for one in courses) for stage in STAGES}


def fragment(found: dict[str, Any]) -> str:
    """Return the findings as a piece of Markdown."""
    options = found["options"]
    first = (
        f"Start, held-out: {found['start_held_out']:.2f} chrF. Seeds: {len(found['seeds'])}. {options['steps']} steps "
        f"of {options['batch']} prompts with {options['group']} responses each, threads: {options['threads']}."
    )
    return "\n".join([
        first, "",
        "| | last steps | held-out | KL | tokens/s | drawing | scoring | update | overhead |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(found, kind) for kind in TRAINERS), "",
        *(_words(what, found["difference"][what]) for what in ("last_steps", "held_out")),
        *(_ratio(clock, found["speed"][clock]["ratio"], found["speed"]["rounds"]) for clock in ("wall", "processor")),
        "", f"`{COMMAND}`", "",
    ])  # fmt: skip


def _line(found: dict[str, Any], kind: str) -> str:
    reached, rate, shares = found["reached"][kind], found["speed"]["wall"][kind], found["shares"][kind]
    cells = [_range(reached[what]) for what in ("last_steps", "held_out", "kl")]
    speed = f"{rate['median']:,.0f} ({rate['least']:,.0f} to {rate['most']:,.0f})"
    return f"| {' | '.join([NAMES[kind], *cells, speed, *(f'{shares[stage]:.0%}' for stage in STAGES)])} |"


def _range(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _words(what: str, found: dict[str, Any]) -> str:
    name = {"last_steps": "last steps", "held_out": "held-out"}[what]
    if found["interval"] is None:
        return f"- {name}: ours - TRL's = {found['mean']:+.2f} (one seed, no interval)"
    low, high = found["interval"]
    verdict = "within noise" if found["within_noise"] else "beyond noise"
    return f"- {name}: ours - TRL's = {found['mean']:+.2f} [{low:+.2f}, {high:+.2f}]: {verdict}"


def _ratio(clock: str, found: dict[str, float], count: int) -> str:
    name = {"wall": "by the clock", "processor": "by the processor's time"}[clock]
    return (
        f"- speed {name}: {found['median']:.2f} times TRL's ({found['least']:.2f} to {found['most']:.2f} in {count} "
        "rounds)"
    )


def main() -> int:
    """Compare, write JSON and Markdown, print the latter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("RMBENCH_DATA", REPO.parent / "shared/data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=OPTIONS.steps)
    parser.add_argument("--start-steps", type=int, default=START.steps)
    parser.add_argument("--threads", type=int, default=OPTIONS.threads)
    parser.add_argument("--rounds", type=int, default=7, help="short interleaved rounds that speed is measured in")
    parser.add_argument("--round-steps", type=int, default=8)
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    sys.path.insert(0, str(PLUGIN))
    from rmbench.judgements import read
    from rmbench.tasks import load_task

    options = replace(OPTIONS, steps=given.steps, threads=given.threads)
    judgements = read(load_task(Path(given.data_dir) / "multi30k-ende"), seed=1)
    with tempfile.TemporaryDirectory() as folder:
        start = replace(START, steps=given.start_steps, threads=given.threads)
        setting = prepare(judgements, Path(folder), policy=POLICY, start=start, options=options)
        timed = rounds(setting, given.rounds, given.round_steps)
        found = compare(setting, range(1, given.seeds + 1), timed=timed)
    made = {
        "command": COMMAND, "task": "multi30k-ende", "reward": "chrf", "policy": asdict(POLICY), "start": asdict(start),
        "options": asdict(options), **found, "machine": {"processor": platform.processor(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }  # fmt: skip
    given.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    given.out.with_suffix(".md").write_text(fragment(made), encoding="utf-8")
    print(fragment(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
