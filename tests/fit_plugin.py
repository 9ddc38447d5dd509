"""A plugin with a reward model that needs no torch: the sign of the length that train prefers."""

CODE = '''
import json, os, signal, time
from dataclasses import dataclass
from pathlib import Path
from rmbench import Interrupted, InputError, RewardModel, hookimpl

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The sign of the length that people prefer, times a scale."""

    scale: float = 1.0
    steps: int = 3
    wait: float = 0.0
    way: str = "good"
    seconds: float | None = None
    feature: str | None = None
    lexicon: Path | None = None

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")

def fit(judgements, loss, options, fitting):
    folder, pairs, texts = fitting.folder, judgements.train.pairs, judgements.train.batch.responses
    if options.way == "raise":
        raise RuntimeError("no luck")
    if options.way == "refuse":
        raise InputError("the moon is wrong", help="wait")
    if options.way == "exit":
        os._exit(7)
    state = folder / ".state.json"
    begun = json.loads(state.read_text())["step"] if state.exists() else 0
    (folder / ".starts").write_text(((folder / ".starts").read_text() if (folder / ".starts").exists() else "") + f"{begun} ")
    for step in range(begun, options.steps):
        if fitting.stop():
            raise Interrupted
        time.sleep(options.wait)
        state.write_text(json.dumps({"step": step + 1}))
        fitting.tell({"step": step + 1, "steps": options.steps, "loss": 1 / (step + 1), "accuracy": 0.5})
    longer = sum(len(texts[p.better]) > len(texts[p.worse]) for p in pairs)
    column = judgements.train.batch.scores.get(options.feature, ())
    told = {"sign": options.scale * (1 if 2 * longer >= len(pairs) else -1), "pairs": len(pairs), "feature": options.feature,
            "mean": sum(column) / len(column) if column else None, "samples": sorted(s.id for s in judgements.train.samples),
            "dev": sorted(s.id for s in judgements.dev.samples), "training": {"accuracy": 0.5}}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "card.md").write_text("# a card\\x1b[2J of a fit\\n")
    return folder

def load(folder, runtime):
    told = json.loads((folder / "config.json").read_text())
    feature = told["feature"]
    def score(batch):
        extra = batch.scores[feature] if feature else (0.0,) * len(batch)
        return [None if x is None else told["sign"] * len(text) + x for text, x in zip(batch.responses, extra)]
    return score

def uses(options):
    return [options.feature] if options.feature else []

@hookimpl
def rmbench_reward_models():
    return [RewardModel(name="slope", version=1, options=Options, fit=fit, load=load, losses=("bradley-terry", "squared"),
                        uses=lambda **given: [given["feature"]] if given.get("feature") else [])]
'''
