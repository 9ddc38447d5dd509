"""A plugin whose fits and trainings take no time and come to what their options say, for tests of searches."""

CODE = '''
import json, time
from dataclasses import dataclass
from math import log10
from pathlib import Path
from rmbench import Decoding, Interrupted, Policy, RewardModel, Trained, Trainer, hookimpl

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Best at a rate of 0.01 and with "b"; a rate below 0.001 shows that it is bad from its first evaluation on."""

    rate: float = 0.1
    size: int = 1
    way: str = "a"
    steps: int = 4
    wait: float = 0.0
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"size is {self.size}, expected at least 1")
        if self.way == "c" and self.size > 2:
            raise ValueError("c goes with sizes to 2")

def worth(options):
    return round(0.9 - 0.1 * abs(log10(options.rate) + 2) - (0 if options.way == "b" else 0.05), 6)

def walk(options, folder, stop, tell):
    """Make the steps that are left: every step is an evaluation."""
    state = folder / ".state.json"
    begun = json.loads(state.read_text())["step"] if state.exists() else 0
    starts = folder / ".starts"
    starts.write_text((starts.read_text() if starts.exists() else "") + f"{begun} ")
    for step in range(begun, options.steps):
        if stop():
            raise Interrupted
        time.sleep(options.wait)
        state.write_text(json.dumps({"step": step + 1}))
        tell([worth(options) * (at + 1) / options.steps for at in range(step + 1)])

def curve(values):
    return [{"step": at, "accuracy": value, "dev_loss": 1 - value} for at, value in enumerate(values, 1)]

def fit(judgements, loss, options, fitting):
    if options.way == "broken":
        raise RuntimeError("no luck with this")
    folder = fitting.folder
    walk(options, folder, fitting.stop, lambda values: fitting.tell(
        {"step": len(values), "steps": options.steps, "loss": 1.0, "accuracy": values[-1], "curve": curve(values)}))
    (folder / "model.safetensors").write_text("weights")
    (folder / "config.json").write_text(json.dumps({"training": {"accuracy": worth(options), "best_step": options.steps}}))
    values = [worth(options) * (at + 1) / options.steps for at in range(options.steps)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in curve(values)))
    (folder / "card.md").write_text("# a card\\n")
    return folder

def load(folder, runtime):
    return lambda batch: [1.0] * len(batch)

@dataclass(frozen=True, slots=True, kw_only=True)
class Small(Decoding):
    width: int = 4

class Agent:
    module = model = tokenizer = None
    def save(self, folder):
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_text("weights")

@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Options):
    seconds: float | None = None

def build(judgements, options, runtime):
    return Agent()

def reload(folder, options, runtime):
    assert (Path(folder) / "model.safetensors").exists()
    return Agent()

def train(agent, judgements, options, session):
    session.judge(judgements.dev.samples[:1], ["a dog"])
    def tell(values):
        most = session.decoding.max_tokens
        rows = [{"step": at, "reward": value, "judges": {"length": value + most, "one": value}} for at, value in enumerate(values, 1)]
        (session.folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
    walk(options, session.folder, session.stop, tell)
    return Trained(options.steps)

@hookimpl
def rmbench_reward_models():
    return [RewardModel(name="peak", version=1, options=Options, fit=fit, load=load, losses=("bradley-terry",))]

@hookimpl
def rmbench_policies():
    return [Policy(name="small", version=1, options=Small, build=build, load=reload)]

@hookimpl
def rmbench_trainers():
    return [Trainer(name="climb", version=1, options=Training, train=train, needs=frozenset({"reward"})),
            Trainer(name="begin", version=1, options=Training, train=train, needs=frozenset())]
'''
