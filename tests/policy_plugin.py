"""A plugin with a policy and trainers that need no torch: the policy says one of its words, training moves to another."""

CODE = '''
import json, os, time
from dataclasses import dataclass
from pathlib import Path
from rmbench import Decoding, InputError, Interrupted, Policy, Response, Reward, Trained, Trainer, hookimpl

WORDS = ("one", "one two", "one two three", "one two three four")

@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Decoding):
    """Says the word of its level; a draw is one level higher with the second response, and so on."""

    level: int = 0
    lexicon: Path | None = None

    def __post_init__(self):
        Decoding.__post_init__(self)
        if self.level < 0:
            raise ValueError(f"level is {self.level}, expected at least 0")

class Agent:
    module = model = tokenizer = None

    def __init__(self, level):
        self.level = level

    def _say(self, level):
        text = WORDS[min(level, len(WORDS) - 1)]
        return Response(text, tuple(range(len(text.split()))), True)

    def sample(self, samples, n, decoding, *, seed):
        return [tuple(self._say(self.level + k) for k in range(n)) for _ in samples]

    def encode(self, text, most=None):
        return Response(text, (0,), True)

    def save(self, folder):
        (folder / "config.json").write_text(json.dumps({"level": self.level}))

def build(judgements, options, runtime):
    return Agent(options.level)

def load(folder, options, runtime):
    return Agent(json.loads((folder / "config.json").read_text())["level"])

@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """One level higher a step, as long as the reward rises."""

    steps: int = 2
    seconds: float | None = None
    wait: float = 0.0
    way: str = "good"

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")

def climb(agent, judgements, options, session):
    if options.way == "raise":
        raise RuntimeError("no luck")
    if options.way == "second" and session.runtime.seed == 2 and not os.environ.get("LUCK"):
        raise RuntimeError(f"no luck in {session.folder}")
    if options.way == "refuse":
        raise InputError("the loss is nan at step 3", help="lower learning_rate")
    if options.way == "exit":
        os._exit(7)
    state = session.folder / ".state"
    state.mkdir(exist_ok=True)
    begun = json.loads((state / "step").read_text()) if (state / "step").exists() else 0
    starts = session.folder / ".starts"
    starts.write_text((starts.read_text() if starts.exists() else "") + f"{begun} ")
    agent.level += begun
    rows = []
    for step in range(begun, options.steps):
        if session.stop():
            raise Interrupted
        time.sleep(options.wait)
        samples = judgements.train.samples[:2] * 2
        scored = session.score(samples, [agent._say(agent.level).text] * 4) if session.reward else None
        agent.level += 1
        (state / "step").write_text(json.dumps(step + 1))
        if options.way == "late" and step:
            agent.save(session.folder)
            raise InputError("the loss is inf at step 2", help="lower learning_rate")
        session.tell({"step": step + 1, "steps": options.steps, "loss": 0.5, "reward": scored.values[0] if scored else None})
    judged = session.judge(judgements.dev.samples, [agent._say(agent.level).text] * len(judgements.dev.samples))
    told = {name: [column.values, dict(column.reasons)] for name, column in judged.items()}
    (session.folder / "curve.jsonl").write_text(json.dumps({"step": options.steps, "judges": told}) + "\\n")
    return Trained(options.steps, notes=("climbed",), decoding={"max_tokens": 9})

def needs(options):
    return {"references"} if options.way == "references" else {"reward"}

@hookimpl
def rmbench_policies():
    return [Policy("ladder", 1, Options, build, load, doc="A ladder.")]

@hookimpl
def rmbench_trainers():
    def study(agent, judgements, options, session):
        return climb(agent, judgements, options, session)
    return [Trainer("climb", 1, Climb, climb, needs), Trainer("study", 2, Climb, study, ())]

def words(fail: bool = False):
    """Count the words."""
    def score(batch):
        return [None if fail else float(len(text.split())) for text in batch.responses]
    return score

@hookimpl
def rmbench_rewards():
    return [Reward("words", 1, words)]
'''
