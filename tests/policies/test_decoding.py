"""How policies write: our loop against transformers' generation, draws, stop texts, and what a draw depends on."""

import numpy as np
import pytest
import torch
from policy_data import SAMPLES, agent, sample, stirred
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from rmbench.policies import generate
from rmbench.policies.causal import Causal
from rmbench.policies.decoder import decoder_of
from rmbench.policies.processors import chooser, drawn, narrowed, penalised, uniforms
from rmbench.policy import Decoding

HOWS = {
    "greedy": {}, "temperature": {"temperature": 0.7}, "top-k": {"temperature": 1.0, "top_k": 5},
    "top-p": {"temperature": 1.3, "top_p": 0.8}, "min-p": {"temperature": 1.0, "min_p": 0.1},
    "repetition": {"repetition_penalty": 1.8},
    "all": {"temperature": 0.9, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.3},
    "stop": {"temperature": 1.0, "stop": ("e", "in")},
}  # fmt: skip


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("how", list(HOWS))
def test_our_loop_writes_what_transformers_writes(monkeypatch, architecture, how):
    decoding = Decoding(max_tokens=14, **HOWS[how])
    assert decoder_of(agent(architecture).model) is not None
    ours = agent(architecture).sample(SAMPLES, 3, decoding, seed=11)
    with monkeypatch.context() as patched:
        patched.setattr(generate, "decoder_of", lambda _: None)
        theirs = agent(architecture).sample(SAMPLES, 3, decoding, seed=11)
    assert ours == theirs
    if decoding.temperature:
        assert len({one.ids for several in ours for one in several}) > len(SAMPLES)


@pytest.mark.parametrize("many", [3, 64, 286])
def test_where_nothing_is_a_probability_a_token_is_drawn_all_the_same(many):
    """The loss of it is NaN, which ends a training in clear words."""
    found = drawn(torch.full((5, many), torch.nan), torch.linspace(0, 0.99, 5, dtype=torch.float64))
    assert bool(((found >= 0) & (found < many)).all())


def test_our_loop_knows_heads_that_are_no_share_of_the_width(monkeypatch):
    plain = agent("llama")
    config = LlamaConfig(**{**plain.model.config.to_dict(), "head_dim": 12})  # 4 heads of a width of 32
    own = stirred(Causal(AutoModelForCausalLM.from_config(config).eval(), plain.reader, plain.files))
    decoding = Decoding(max_tokens=8, temperature=1.0)
    ours = own.sample(SAMPLES, 2, decoding, seed=3)
    monkeypatch.setattr(generate, "decoder_of", lambda _: None)
    assert ours == own.sample(SAMPLES, 2, decoding, seed=3)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_greedy_response_is_that_of_generate_with_no_processor_of_ours(architecture):
    policy = agent(architecture)
    for one, (written, *_) in zip(SAMPLES, policy.sample(SAMPLES, 1, Decoding(max_tokens=14), seed=1), strict=True):
        ids = torch.tensor(policy.reader.prompts([one]))
        config = GenerationConfig(max_new_tokens=14, do_sample=False, eos_token_id=policy.reader.eos, pad_token_id=0)
        own = policy.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        assert tuple(own[0, ids.shape[1] :].tolist()) == written.ids


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_beam_search_is_that_of_generate(architecture):
    policy = agent(architecture)
    found = policy.sample(SAMPLES, 2, Decoding(max_tokens=12, beams=3, length_penalty=0.5), seed=1)
    for one, (written, again) in zip(SAMPLES, found, strict=True):
        assert written == again
        ids = torch.tensor(policy.reader.prompts([one]))
        config = GenerationConfig(
            max_new_tokens=12, num_beams=3, length_penalty=0.5, eos_token_id=policy.reader.eos, pad_token_id=0
        )
        own = policy.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[0]
        own = own[ids.shape[1] :].tolist()
        assert own[: len(written.ids)] == list(written.ids)
        assert written.finished or len(own) == len(written.ids)


def test_the_choice_goes_by_transformers_processors():
    torch.manual_seed(3)
    logits, none = torch.randn(64, 500) * 3, torch.zeros(64, 0, dtype=torch.int64)
    numbers = torch.rand(64, dtype=torch.float64)
    decoding = Decoding(temperature=0.8, top_k=30, top_p=0.85, min_p=0.01)
    theirs = logits
    for one in (TemperatureLogitsWarper(0.8), TopKLogitsWarper(30), TopPLogitsWarper(0.85), MinPLogitsWarper(0.01)):
        theirs = one(none, theirs)
    ours = chooser(decoding)(logits, none, numbers)
    assert bool(torch.isfinite(theirs.gather(1, ours[:, None])).all())
    assert torch.equal(ours, drawn(theirs, numbers))
    makers = {"top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    for own in ({"top_k": 30}, {"top_p": 0.6}, {"top_p": 0.99}, {"min_p": 0.05}, {"top_k": 3, "top_p": 0.7}):
        theirs = logits
        for name, value in own.items():
            theirs = makers[name](value)(none, theirs)
        assert torch.equal(chooser(Decoding(temperature=1.0, **own))(logits, none, numbers), drawn(theirs, numbers))


@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0])
def test_what_top_p_leaves_is_transformers_where_few_and_where_many_tokens_hold_it(spread):
    torch.manual_seed(6)
    logits, none = torch.randn(20, 3000) * spread, torch.zeros(20, 0, dtype=torch.int64)
    for share in (0.1, 0.5, 0.9, 0.99):
        theirs = TopPLogitsWarper(share)(none, logits)
        ours = narrowed(logits, Decoding(temperature=1.0, top_p=share))
        at_the_edge = (torch.isfinite(theirs) != torch.isfinite(ours)).sum(1)  # where sums round otherwise
        assert int(at_the_edge.max()) <= (1 if spread > 0.1 else 3)


def test_a_draw_is_the_inverse_of_the_cumulative_distribution():
    torch.manual_seed(1)
    scores = torch.randn(40, 333)
    scores[:, ::3] = -torch.inf
    heights = torch.softmax(scores.double(), 1).cumsum(1)
    numbers = torch.rand(40, dtype=torch.float64)
    expected = torch.searchsorted(heights, numbers[:, None], right=True)[:, 0]
    assert torch.equal(drawn(scores, numbers), expected)
    ends = drawn(scores, torch.full((40,), 1 - 1e-16, dtype=torch.float64))
    assert bool(torch.isfinite(scores.gather(1, ends[:, None])).all())  # never what has no probability
    assert bool((drawn(scores, torch.zeros(40, dtype=torch.float64)) == 1).all())


def test_draws_come_as_often_as_their_probability():
    torch.manual_seed(2)
    scores = torch.randn(1, 12)
    many = 40_000
    found = drawn(scores.expand(many, -1), torch.from_numpy(np.random.default_rng(7).random(many)))
    shares = torch.bincount(found, minlength=12) / many
    expected = torch.softmax(scores[0], 0)
    assert float((shares - expected).abs().max()) < 4 * (0.25 / many) ** 0.5


def test_a_repeated_token_is_lowered_once_as_in_the_paper():
    scores = torch.tensor([[2.0, -2.0, 1.0, 4.0]])
    written = torch.tensor([[0, 0, 1]])
    assert penalised(scores, written, 2.0).tolist() == [[1.0, -4.0, 1.0, 4.0]]


def test_numbers_are_a_function_of_seed_place_and_number():
    rows = [(0, 0), (0, 1), (1, 0)]
    found = uniforms(rows, 50, 3)
    assert np.array_equal(uniforms(rows[::-1], 20, 3), found[::-1, :20])
    assert len(np.unique(found)) == found.size
    assert not np.isin(uniforms(rows, 50, 4), found).any()
    assert 0.4 < found.mean() < 0.6


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_response_depends_on_seed_and_place_and_not_on_its_batch(monkeypatch, architecture):
    policy, decoding = agent(architecture), Decoding(max_tokens=12, temperature=1.0)
    whole = policy.sample(SAMPLES, 4, decoding, seed=5)
    assert policy.sample(SAMPLES, 4, decoding, seed=5) == whole
    assert policy.sample(SAMPLES, 4, decoding, seed=6) != whole
    assert [one[:2] for one in whole] == policy.sample(SAMPLES, 2, decoding, seed=5)
    assert policy.sample(SAMPLES[:2], 4, decoding, seed=5) == whole[:2]
    monkeypatch.setitem(generate.TOKENS, "cpu", 1)  # a row at a time
    assert policy.sample(SAMPLES, 4, decoding, seed=5) == whole


def test_torch_s_own_generator_is_left_alone():
    policy = agent()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    policy.sample(SAMPLES, 2, Decoding(max_tokens=4, temperature=1.0), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stop_text_ends_a_response_and_what_follows_is_left_out():
    policy = agent()
    free = policy.sample(SAMPLES, 4, Decoding(max_tokens=16, temperature=1.0), seed=2)
    stopped = policy.sample(SAMPLES, 4, Decoding(max_tokens=16, temperature=1.0, stop=("a", "xq")), seed=2)
    met = 0
    for long, short in zip(sum(free, ()), sum(stopped, ()), strict=True):
        assert short.text == long.text.split("a")[0]
        assert short.ids == long.ids[: len(short.ids)]
        if "a" in long.text:
            met += 1
            assert short.finished
            assert "a" in policy.reader.text(short.ids)
            assert "a" not in policy.reader.text(short.ids[:-1])
    assert met > 4


def test_a_response_ends_with_its_end_token_or_at_the_most_tokens():
    policy = agent()
    found = sum(policy.sample(SAMPLES, 40, Decoding(max_tokens=16, temperature=3.0), seed=2), ())
    ended = [one for one in found if one.finished]
    assert ended
    for one in found:
        assert one.finished == (one.ids[-1] == policy.reader.eos)
        assert one.finished or len(one.ids) == 16
        assert policy.reader.eos not in one.ids[:-1]


def test_nothing_is_drawn_for_no_prompt_and_a_mode_is_put_back():
    policy = agent()
    assert policy.sample([], 3, Decoding(temperature=1.0), seed=1) == []
    policy.module.train()
    policy.sample([sample("A dog.")], 1, Decoding(max_tokens=2), seed=1)
    assert policy.module.training
    policy.module.eval()
