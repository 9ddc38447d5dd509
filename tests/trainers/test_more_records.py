"""The records of the trainers with a critic and of those that choose: what they need, and that they train."""

import pytest
from practice import SHORT
from spelling import Speller, bits, copies, session

from rmbench.builtin.trainers_more import TRAINERS
from rmbench.trainers.critic_options import ActorCritic, Ppo
from rmbench.trainers.pair_options import BestOfN, Dpo

NAMED = {trainer.name: trainer for trainer in TRAINERS}


@pytest.mark.parametrize(
    ("name", "options", "moved"),
    [
        ("actor-critic", ActorCritic(steps=1, **SHORT), True),
        ("ppo", Ppo(steps=1, **SHORT), True),
        ("dpo", Dpo(steps=1, **SHORT), True),
        ("best-of-n", BestOfN(n=2, steps=1), False),
    ],
)
def test_a_record_trains(tmp_path, name, options, moved):
    agent = Speller()
    trained = NAMED[name].train(agent, copies(), options, session(tmp_path))
    assert (bits(agent) != bits(Speller())) == moved
    assert trained.steps == int(moved)
    assert isinstance(NAMED[name].options(), type(options))
    for file in ("log.jsonl", "curve.jsonl", ".timings.jsonl", ".measures.json"):
        assert (tmp_path / file).is_file()


def test_what_they_need():
    assert NAMED["ppo"].needs(Ppo()) == NAMED["actor-critic"].needs(ActorCritic()) == {"reward"}
    assert NAMED["ppo"].needs(Ppo(mix=0.1)) == {"reward", "references"}
    assert NAMED["dpo"].needs(Dpo()) == NAMED["best-of-n"].needs == {"reward"}
    assert NAMED["dpo"].needs(Dpo(pairs="task")) == {"pairs"}
