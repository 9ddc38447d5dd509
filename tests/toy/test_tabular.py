"""The policy of a table: it draws what it says, forgets nothing on disk, and refuses what is not of its world."""

import json

import numpy as np
import pytest
import torch

from rmbench import toy
from rmbench.api import Runtime, Sample, Turn
from rmbench.builtin.toy import POLICIES
from rmbench.errors import InputError
from rmbench.policies.tabular import TabularAgent
from rmbench.policies.tabular_options import Tabular
from rmbench.policy import Decoding
from rmbench.toy_world import END, NAMES, PREFIXES

SAMPLES = [Sample(name, f"{name}: go", (Turn("user", f"{name}: go"),)) for name in NAMES]
POLICY = POLICIES[0]
FREELY = Decoding(max_tokens=4, temperature=1.0)


def agent(spread=1.0, seed=1):
    return POLICY.build(None, Tabular(spread=spread), Runtime(seed=seed))


def own(one):
    return one.module.logits.detach().double().numpy()[:5]


def test_it_draws_what_it_says():
    one = agent()
    drawn = one.sample(SAMPLES, 20_000, FREELY, seed=3)
    exact = np.exp(toy.policy(own(one)))
    for place, responses in enumerate(drawn):
        ids = [response.ids for response in responses]
        found = np.array([sum(i == (*letters, END) for i in ids) for letters in PREFIXES]) / len(ids)
        assert np.abs(found - exact[place]).max() < 5 * 0.5 / len(ids) ** 0.5
    assert all(response.finished and response.ids[-1] == END for responses in drawn for response in responses)


def test_forward_gives_the_log_probability_of_every_response():
    one = agent()
    responses = [one.encode(" ".join("xyz"[letter] for letter in letters)) for letters in PREFIXES]
    told = one.forward([SAMPLES[2]] * 40, responses)
    assert told.logits.shape == (40, 4, 4)
    assert told.logits.dtype == told.hidden.dtype == torch.float32
    assert told.mask.dtype == torch.bool
    assert told.ids[~told.mask].eq(0).all()
    logp = told.logits.log_softmax(-1).gather(-1, told.ids[..., None])[..., 0]
    found = torch.where(told.mask, logp, 0.0).sum(1)
    assert found.detach().numpy() == pytest.approx(toy.policy(own(one))[2], abs=1e-5)
    total = (found.exp() * torch.tensor(toy.rewards()[2])).sum() / 5
    total.backward()
    assert one.module.logits.grad[:5].numpy()[2] == pytest.approx(toy.gradient(own(one))[2], abs=1e-6)
    assert one.module.logits.grad[[0, 1, 3, 4, 5]].eq(0).all()


def test_hidden_is_a_state_of_its_own_for_each_place_and_prefix():
    one = agent()
    responses = [one.encode("x y z"), one.encode("x")]
    told = one.forward(SAMPLES[:2], responses)
    rows = told.hidden[told.mask]
    assert rows.shape == (6, 240)
    assert rows.sum(1).eq(1).all()
    assert len(set(rows.argmax(1).tolist())) == 6
    assert one.forward(SAMPLES[:1], responses[:1]).hidden[0].equal(told.hidden[0])


def test_texts_alone_have_a_row_of_their_own():
    one = agent()
    told = one.forward(None, [one.encode("x y")])
    told.logits.sum().backward()
    assert one.module.logits.grad[5].ne(0).any()
    assert one.module.logits.grad[:5].eq(0).all()


def test_no_rows_are_no_error():
    one = agent()
    assert one.sample([], 2, FREELY, seed=1) == []
    assert one.forward([], []).logits.shape == (0, 0, 4)


@pytest.mark.parametrize(
    ("decoding", "allowed"),
    [
        (Decoding(max_tokens=4, temperature=1.0, top_k=1), 1),
        (Decoding(max_tokens=4, temperature=1.0, top_p=0.55), 2),
        (Decoding(max_tokens=4, temperature=1.0, min_p=0.5), 2),
        (Decoding(max_tokens=4, temperature=0.01), 1),
        (Decoding(max_tokens=4), 1),
    ],
)
def test_decoding_rules_tokens_out(decoding, allowed):
    one = agent(0.0)
    one.module.logits.data[:, 0] = torch.tensor([0.5, 0.3, 0.1, 0.1]).log()
    firsts = {response.ids[0] for response in one.sample(SAMPLES[:1], 400, decoding, seed=1)[0]}
    assert firsts == set(range(allowed))


def test_temperature_and_penalty_by_hand():
    one = agent(0.0)
    one.module.logits.data[:, 0] = torch.tensor([2.0, 1.0, 0.0, 0.0])
    one.module.logits.data[:, 1] = torch.tensor([2.0, 1.5, 0.0, 0.0])
    drawn = one.sample(SAMPLES[:1], 20_000, Decoding(max_tokens=1, temperature=0.5), seed=1)[0]
    share = np.mean([response.ids == (0,) for response in drawn])
    assert share == pytest.approx(np.exp(4) / (np.exp(4) + np.exp(2) + 2), abs=0.015)
    assert not any(response.finished and response.ids == (0,) for response in drawn)
    plain, penalised = (
        one.sample(SAMPLES[:1], 1, Decoding(max_tokens=2, repetition_penalty=penalty), seed=1)[0][0].text
        for penalty in (1.0, 1.5)
    )
    assert (plain, penalised) == ("x x", "x y")  # 2 / 1.5 is below 1.5


def test_beams_find_the_likeliest_response():
    one = agent()
    found = [
        each[0].text for each in one.sample(SAMPLES, 1, Decoding(max_tokens=4, beams=4, length_penalty=0.0), seed=1)
    ]
    best = toy.policy(own(one)).argmax(axis=1)
    assert found == [toy.text_of(PREFIXES[index]) for index in best]


def test_a_response_ends_before_a_stop_text():
    one = agent(0.0)
    for response in one.sample(SAMPLES[:1], 300, Decoding(max_tokens=4, temperature=1.0, stop=("y",)), seed=1)[0]:
        assert "y" not in response.text
        assert response.finished == (response.ids[-1] == END)
        assert response.ids.count(1) <= 1


def test_responses_depend_on_the_seed_and_the_place_alone():
    one = agent()
    whole = one.sample(SAMPLES, 3, FREELY, seed=5)
    assert one.sample(SAMPLES, 3, FREELY, seed=5) == whole
    assert one.sample(SAMPLES[:2], 3, FREELY, seed=5) == whole[:2]
    assert one.sample(SAMPLES, 3, FREELY, seed=6) != whole


def test_encoding_a_text():
    one = agent()
    assert one.encode("z z").ids == (2, 2, END)
    assert one.encode("").ids == (END,)
    long = one.encode("x y z x")
    assert (long.text, long.ids, long.finished) == ("x y z", (0, 1, 2), False)
    assert one.encode("x y", most=2).ids == (0, 1)
    assert not one.encode("x y", most=2).finished
    assert one.encode("North: write").ids == ()  # a place and no text
    with pytest.raises(InputError, match="'house' is none of x, y, z"):
        one.encode("house")


def test_saved_and_loaded_it_is_the_same(tmp_path):
    one = agent()
    one.save(tmp_path)
    again = POLICY.load(tmp_path, Tabular(), Runtime())
    assert again.module.logits.equal(one.module.logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert toy.expected(tmp_path) == pytest.approx(toy.mean(toy.policy(own(one))))
    assert toy.expected(tmp_path, best=4) > toy.expected(tmp_path)
    first = (tmp_path / "model.safetensors").read_bytes()
    again.save(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == first


def test_another_folder_is_refused(tmp_path):
    agent().save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(InputError, match="no table of this toy world: model_type 'llama'"):
        POLICY.load(tmp_path, Tabular(), Runtime())
    with pytest.raises(InputError, match="no such folder"):
        toy.expected(tmp_path / "none")


def test_what_it_begins_with_is_a_function_of_the_seed():
    assert agent(0.0).module.logits.eq(0).all()
    assert agent(1.0, 1).module.logits.equal(agent(1.0, 1).module.logits)
    assert not agent(1.0, 1).module.logits.equal(agent(1.0, 2).module.logits)
    assert isinstance(agent(), TabularAgent)


def test_prompts_of_another_task_are_refused():
    other = Sample("a", "Translate this", (Turn("user", "Translate this"),))
    for call in (
        lambda: agent().sample([other], 1, FREELY, seed=1),
        lambda: agent().forward([other], [agent().encode("x")]),
    ):
        with pytest.raises(InputError, match="begins with none of north, east"):
            call()
    with pytest.raises(ValueError, match="1 prompts, but 2 responses"):
        agent().forward(SAMPLES[:1], [agent().encode("x")] * 2)


@pytest.mark.parametrize("options", [{"spread": -1.0}, {"spread": "wide"}, {"max_tokens": 0}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Tabular(**options)
