"""The policy ``tiny``: its tokens and weights, forward against transformers' own outputs, saving and loading."""

import json

import pytest
import torch
from policy_data import SAMPLES, SIZES, agent, judgements, logprobs, made, sample

from rmbench.api import Runtime, Turn
from rmbench.builtin.policies import POLICIES
from rmbench.errors import InputError
from rmbench.policies import tiny
from rmbench.policies.options import Hf, Tiny
from rmbench.policy import Decoding, Response

BOTH = ["llama", "gpt2"]


@pytest.mark.parametrize("architecture", BOTH)
def test_logits_are_the_model_s_own_one_by_one(architecture):
    policy = agent(architecture)
    written = [several[0] for several in policy.sample(SAMPLES, 1, Decoding(max_tokens=9, temperature=1.5), seed=4)]
    seen = policy.forward(SAMPLES, written)
    for row, (one, response) in enumerate(zip(SAMPLES, written, strict=True)):
        prompt = policy.reader.prompts([one])[0]
        ids = torch.tensor([[*prompt, *response.ids]])
        own = policy.model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        begin, many = len(prompt) - 1, len(response.ids)
        assert torch.allclose(own.logits[0, begin:-1], seen.logits[row, :many], atol=2e-5)
        assert torch.allclose(own.hidden_states[-1][0, begin:-1], seen.hidden[row, :many], atol=2e-5)
        assert seen.ids[row].tolist() == [*response.ids, *[0] * (seen.ids.shape[1] - many)]
        assert seen.mask[row].sum() == many
    assert seen.logits.dtype == seen.hidden.dtype == torch.float32
    assert seen.logits.requires_grad


@pytest.mark.parametrize("architecture", BOTH)
def test_a_response_s_logits_do_not_depend_on_its_neighbours(architecture):
    policy = agent(architecture)
    written = [several[0] for several in policy.sample(SAMPLES, 1, Decoding(max_tokens=12, temperature=2.0), seed=4)]
    written[0] = policy.encode(SAMPLES[0].references[0] * 2)
    whole = logprobs(policy, SAMPLES, written)
    alone = [logprobs(policy, [one], [text])[0] for one, text in zip(SAMPLES, written, strict=True)]
    assert torch.allclose(whole, torch.stack(alone), atol=1e-4, rtol=0)


def test_drawn_tokens_are_as_likely_as_forward_says():
    """Draws of a first token come with forward's probabilities, up to what 4 standard errors allow."""
    policy, many = agent(), 4000
    found = policy.sample(SAMPLES[:1], many, Decoding(max_tokens=1, temperature=1.0), seed=8)[0]
    expected = torch.softmax(policy.forward(SAMPLES[:1], found[:1]).logits[0, 0].detach().double(), 0)
    shares = torch.bincount(torch.tensor([one.ids[0] for one in found]), minlength=len(expected)) / many
    assert float((shares - expected).abs().max()) < 4 * float((expected * (1 - expected) / many).sqrt().max())
    assert float(expected.max()) > 0.02


@pytest.mark.parametrize("architecture", BOTH)
def test_greedy_tokens_are_the_likeliest_of_forward(architecture):
    policy = agent(architecture)
    written = [several[0] for several in policy.sample(SAMPLES, 1, Decoding(max_tokens=9), seed=4)]
    seen = policy.forward(SAMPLES, written)
    assert bool((seen.logits.argmax(2) == seen.ids)[seen.mask].all())


@pytest.mark.parametrize("architecture", BOTH)
def test_what_is_saved_is_loaded_by_tiny_and_by_hf(tmp_path, architecture):
    policy = agent(architecture)
    policy.save(tmp_path / "made")
    assert not list((tmp_path / "made").glob(".*"))
    decoding = Decoding(max_tokens=10, temperature=1.0)
    wanted = policy.sample(SAMPLES, 2, decoding, seed=1)
    options = {"tiny": Tiny(max_prompt=48, max_tokens=16), "hf": Hf(max_prompt=48, max_tokens=16)}
    for maker in POLICIES:
        again = maker.load(tmp_path / "made", options[maker.name], Runtime())
        assert again.sample(SAMPLES, 2, decoding, seed=1) == wanted
        written = [several[0] for several in wanted]
        assert torch.equal(again.forward(SAMPLES, written).logits, policy.forward(SAMPLES, written).logits)
        again.save(tmp_path / "again")
        for file in (tmp_path / "made").iterdir():
            assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name
    kept = json.loads((tmp_path / "made" / "config.json").read_text())
    assert kept["architectures"] == ["LlamaForCausalLM" if architecture == "llama" else "GPT2LMHeadModel"]


def test_a_policy_is_a_function_of_texts_options_and_seed():
    options = Tiny(**SIZES)
    one, again, other = (tiny.build(judgements(), options, Runtime(seed=seed)) for seed in (1, 1, 2))
    same = [torch.equal(a, b) for a, b in zip(one.module.parameters(), again.module.parameters(), strict=True)]
    assert all(same)
    assert one.files == again.files == other.files
    assert not torch.equal(next(one.module.parameters()), next(other.module.parameters()))


def test_prompts_are_read_by_turns():
    policy = agent()
    turns = [("system", "Be kind."), ("user", "Hello"), ("assistant", "Hi"), ("user", "A dog?")]
    ids = policy.reader.prompts([sample("x", turns=turns)])[0]
    words = policy.tokenizer.decode(ids)
    assert words == "<s><|system|>Be kind.<|user|>Hello<|assistant|>Hi<|user|>A dog?<|assistant|>"
    assert policy.tokenizer.decode(policy.reader.prompts([sample("Hello")])[0]) == "<s>Hello<|assistant|>"
    whole = policy.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}], tokenize=False
    )
    assert whole == "<s>Hello<|assistant|>Hi</s>"


def test_a_long_prompt_keeps_its_end_and_its_bos():
    policy = made(max_prompt=8)
    long = policy.reader.prompts([sample("one two three four five six seven eight nine ten")])[0]
    assert len(long) == 8
    text = policy.tokenizer.decode(long)
    assert text.startswith("<s>")
    assert text.endswith("en<|assistant|>")


def test_texts_stand_alone_behind_bos_and_empty_prompts_work():
    policy = agent()
    text = policy.encode("Ein Hund.")
    alone = policy.forward(None, [text, policy.encode("")])
    ids = torch.tensor([[policy.reader.bos, *text.ids]])
    assert torch.allclose(alone.logits[0], policy.model(input_ids=ids).logits[0, :-1], atol=2e-5)
    assert alone.mask.sum(1).tolist() == [len(text.ids), 1]
    empty = [sample("", name="empty", turns=[("user", "")])]
    assert policy.forward(empty, [text]).mask.sum() == len(text.ids)
    assert len(policy.sample(empty, 2, Decoding(max_tokens=3, temperature=1.0), seed=1)[0]) == 2


def test_a_text_is_encoded_whole_and_cut_where_that_is_asked_for():
    policy = agent()
    text = 'Straße </s> <|user|> "x"\n猫'
    whole = policy.encode(text)
    assert whole.text == text
    assert whole.finished
    assert whole.ids[-1] == policy.reader.eos
    assert policy.reader.eos not in whole.ids[:-1]  # the same characters in a text are ordinary ones
    assert policy.reader.text(whole.ids[:-1]) == text
    cut = policy.encode(text, 3)
    assert cut == Response(policy.reader.text(whole.ids[:3]), whole.ids[:3], finished=False)
    assert policy.encode(text, len(whole.ids)) == whole
    assert policy.encode("") == Response("", (policy.reader.eos,), finished=True)


def test_the_gradient_reaches_every_weight():
    policy = made()
    written = [policy.encode(one.references[0]) for one in SAMPLES]
    policy.module.train()
    (-logprobs(policy, SAMPLES, written).sum()).backward()
    assert all(weights.grad is not None and bool(weights.grad.any()) for weights in policy.module.parameters())


def test_texts_that_are_many_are_learnt_from_in_part(monkeypatch):
    monkeypatch.setattr(tiny, "LEARNT_FROM", 100)
    held = [sample(f"prompt number {number}", "reference") for number in range(50)]
    assert 4 < len(list(tiny._texts(judgements(held)))) < 20


def test_more_tokens_than_places_are_refused(tmp_path):
    policy = made("gpt2", positions=64)
    with pytest.raises(InputError, match="the model takes 64"):
        policy.sample(SAMPLES, 1, Decoding(max_tokens=60), seed=1)
    with pytest.raises(InputError, match="the model takes 64"):
        policy.forward(None, [policy.encode("x y z " * 60)])
    policy.save(tmp_path)
    with pytest.raises(InputError, match="max_prompt and max_tokens are 240 tokens together, the model takes 64"):
        tiny.load(tmp_path, Tiny(max_prompt=200, max_tokens=40), Runtime())


def test_a_folder_of_other_sizes_than_the_options_is_refused(tmp_path):
    agent().save(tmp_path)
    with pytest.raises(InputError, match="layers is 3, the weights that the policy begins with have 2"):
        tiny.load(tmp_path, Tiny(max_prompt=48, max_tokens=16, layers=3), Runtime())


def test_a_task_without_texts_and_sizes_beyond_memory_are_refused():
    with pytest.raises(InputError, match="there is no text to learn tokens from"):
        tiny.check(judgements([sample("", turns=[("user", "")])]), Tiny())
    with pytest.raises(InputError, match="GB are free"):
        tiny.check(judgements(), Tiny(layers=1000, width=100_000, heads=10))


def test_rows_and_prompts_must_be_as_many():
    with pytest.raises(ValueError, match="5 prompts and 1 responses"):
        agent().forward(SAMPLES, [agent().encode("x")])


def test_a_lone_surrogate_is_refused():
    with pytest.raises(InputError, match="lone surrogate"):
        agent().encode("a\ud800")
    with pytest.raises(InputError, match="lone surrogate"):
        agent().sample([sample("a\ud800")], 1, Decoding(max_tokens=2), seed=1)


def test_messages_decide_and_a_prompt_alone_is_a_user_s_turn():
    from rmbench.api import Sample

    one = Sample("a", "shown", (Turn("user", "seen"),))
    bare = Sample("b", "seen", ())
    assert agent().reader.prompts([one]) == agent().reader.prompts([bare])
