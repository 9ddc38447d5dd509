"""The policy ``hf``: folders of several architectures, encoder-decoders, adapters, what is refused."""

import json
import shutil
from functools import cache

import policy_data
import pytest
import torch
import transformers as tf
from policy_data import logprobs, sample

import causal_models  # isort: skip - found through policy_data
import folders  # isort: skip

from rmbench.api import Runtime
from rmbench.builtin.policies import check_hf
from rmbench.errors import InputError
from rmbench.policies import hf
from rmbench.policies.decoder import decoder_of
from rmbench.policies.options import Hf
from rmbench.policy import Decoding

SAMPLES = [sample(text) for text in ("The cat sat", "A good answer is short and kind and correct", "1 2 3")]
CAUSAL = ["llama", "qwen2", "gpt2", "gemma2", "opt"]
PAIRS = ["t5", "bart", "marian"]
SMALL = {"max_prompt": 40, "max_tokens": 12}


def encoder_decoder(name, tokenizer):
    common = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    wide = {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64,
    }  # fmt: skip
    if name == "t5":
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
        return tf.T5ForConditionalGeneration(
            tf.T5Config(**common, **sizes, decoder_start_token_id=tokenizer.pad_token_id)
        )
    if name == "bart":
        more = {"bos_token_id": tokenizer.bos_token_id, "decoder_start_token_id": tokenizer.eos_token_id}
        return tf.BartForConditionalGeneration(tf.BartConfig(**common, **wide, **more))
    return tf.MarianMTModel(tf.MarianConfig(**common, **wide, decoder_start_token_id=tokenizer.pad_token_id))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a small model by name, made once."""

    @cache
    def made(name):
        path = tmp_path_factory.mktemp(name)
        if name in CAUSAL:
            return causal_models.save(path, name)
        tokenizer = folders.bpe("llama")
        torch.manual_seed(0)
        model = encoder_decoder(name, tokenizer).eval()
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(torch.randn_like(weights) * 0.1)
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        return path

    return made


def load(path, **options):
    return hf.load(path, Hf(**{**SMALL, **options}), Runtime())


def own_logits(policy, prompt, response):
    """Logits before each token of a response, by the model's own pass over one row."""
    ids = torch.tensor([[*prompt]])
    if policy.start is None:
        whole = torch.tensor([[*prompt, *response.ids]])
        return policy.model(input_ids=whole, attention_mask=torch.ones_like(whole)).logits[0, len(prompt) - 1 : -1]
    rows = torch.tensor([[*policy.before, *response.ids]])
    found = policy.model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=rows)
    return found.logits[0, len(policy.before) - 1 : -1]


@pytest.mark.parametrize("name", CAUSAL + PAIRS)
def test_logits_are_the_model_s_own_and_greedy_tokens_their_likeliest(folder, name):
    policy = load(folder(name))
    written = [several[0] for several in policy.sample(SAMPLES, 1, Decoding(max_tokens=9), seed=4)]
    written[1] = policy.encode("It is. ")
    seen = policy.forward(SAMPLES, written)
    for row, prompt in enumerate(policy.reader.prompts(SAMPLES)):
        own = own_logits(policy, prompt, written[row])
        assert torch.allclose(own, seen.logits[row, : len(own)], atol=5e-5)
    greedy = torch.tensor([0, 2])
    assert bool((seen.logits.argmax(2) == seen.ids)[greedy][seen.mask[greedy]].all())
    assert seen.hidden.shape == (*seen.ids.shape, 32 if name in PAIRS else 48)


@pytest.mark.parametrize("name", CAUSAL + PAIRS)
def test_draws_depend_on_the_seed_and_what_is_saved_is_loaded(folder, name, tmp_path):
    policy, decoding = load(folder(name)), Decoding(max_tokens=8, temperature=1.0, top_p=0.95)
    found = policy.sample(SAMPLES, 2, decoding, seed=3)
    assert policy.sample(SAMPLES[:1], 2, decoding, seed=3) == found[:1]
    assert policy.sample(SAMPLES, 2, decoding, seed=4) != found
    policy.save(tmp_path)
    assert load(tmp_path).sample(SAMPLES, 2, decoding, seed=3) == found
    auto = tf.AutoModelForCausalLM if name in CAUSAL else tf.AutoModelForSeq2SeqLM
    assert auto.from_pretrained(tmp_path).config.model_type == policy.model.config.model_type


@pytest.mark.parametrize("name", ["gemma2", "t5", "marian"])
def test_beams_penalties_and_stop_texts_go_through_generate(folder, name):
    policy = load(folder(name))
    best = policy.sample(SAMPLES, 1, Decoding(max_tokens=8, beams=3), seed=1)
    greedy = policy.sample(SAMPLES, 1, Decoding(max_tokens=8), seed=1)
    assert len(best) == len(greedy) == len(SAMPLES)
    once = policy.sample(SAMPLES, 1, Decoding(max_tokens=8, repetition_penalty=100.0), seed=1)
    written = [response.ids for (response,) in once]
    assert [len(set(ids)) for ids in written] == [len(ids) for ids in written]
    assert any(len(set(response.ids)) < len(response.ids) for (response,) in greedy)
    for (response,) in policy.sample(SAMPLES, 1, Decoding(max_tokens=8, temperature=1.0, stop=("e", "a")), seed=1):
        assert not set("ae") & set(response.text)


@pytest.mark.parametrize("name", ["llama", "gpt2", "bart"])
def test_adapters_alone_are_learnt_and_saved_within_the_weights(folder, name, tmp_path):
    policy, whole = load(folder(name), lora_rank=2), load(folder(name))
    learnt = [weights for weights in policy.module.parameters() if weights.requires_grad]
    assert 0 < sum(map(torch.numel, learnt)) < 0.1 * sum(map(torch.numel, policy.module.parameters()))
    text = [policy.encode("I can look it up."), policy.encode("No."), policy.encode("4")]
    assert torch.allclose(logprobs(policy, SAMPLES, text), logprobs(whole, SAMPLES, text), atol=1e-9)
    optimizer = torch.optim.SGD(learnt, 0.05)
    before = float(logprobs(policy, SAMPLES, text).sum().detach())
    for _ in range(3):
        optimizer.zero_grad()
        (-logprobs(policy, SAMPLES, text).sum()).backward()
        optimizer.step()
    after = logprobs(policy, SAMPLES, text).detach()
    assert float(after.sum()) > before + 0.1
    policy.save(tmp_path)
    again = load(tmp_path)
    assert torch.allclose(logprobs(again, SAMPLES, text), after, atol=1e-3)
    greedy = Decoding(max_tokens=6)
    assert again.sample(SAMPLES, 1, greedy, seed=1) == policy.sample(SAMPLES, 1, greedy, seed=1)
    assert not any("lora" in key for key in folders.weights(tmp_path))


def test_adapters_are_drawn_from_the_seed(folder):
    made = [hf.load(folder("llama"), Hf(**SMALL, lora_rank=2), Runtime(seed=seed)) for seed in (1, 1, 2)]
    first = [[one.detach() for one in policy.module.parameters() if one.requires_grad] for policy in made]
    assert all(torch.equal(a, b) for a, b in zip(first[0], first[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first[0], first[2], strict=True))


def test_adapters_without_peft_are_refused(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(InputError, match="lora_rank needs the package peft"):
        load(folder("llama"), lora_rank=2)


def test_a_chat_template_writes_prompts_and_none_leaves_it_out(folder, tmp_path):
    path = shutil.copytree(folder("llama"), tmp_path / "chat")
    (path / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    chat, plain = load(path), load(path, chat_template="none")
    assert chat.tokenizer.decode(chat.reader.prompts(SAMPLES[:1])[0]) == "<s>[user] The cat sat[assistant] "
    assert plain.tokenizer.decode(plain.reader.prompts(SAMPLES[:1])[0]) == "<s>The cat sat\n"
    (path / "chat_template.jinja").write_text("{{ raise_exception('no such role') }}")
    with pytest.raises(InputError, match="the chat template refuses the prompt: TemplateError: no such role"):
        load(path).sample(SAMPLES, 1, Decoding(max_tokens=2), seed=1)


def test_an_empty_prompt_is_bos_and_without_bos_an_error(folder):
    empty, response = [sample("", name="empty", turns=[("user", "")])], "Yes."
    policy = load(folder("llama"))
    assert policy.reader.prompts(empty) == [(policy.reader.bos,)]
    assert policy.forward(empty, [policy.encode(response)]).mask.any()
    qwen = load(folder("qwen2"))
    for prompts in (empty, None):
        with pytest.raises(InputError, match="the tokenizer has no BOS"):
            qwen.forward(prompts, [qwen.encode(response)])
    reads = load(folder("t5"))
    assert reads.forward(None, [reads.encode(response)]).mask.any()


def test_an_encoder_reads_the_end_of_a_long_prompt(folder):
    policy = load(folder("bart"), max_prompt=8)
    ids = policy.reader.prompts([sample("one two three four five six seven eight nine ten")])[0]
    assert len(ids) == 8
    assert ids[0] == policy.reader.bos
    assert policy.tokenizer.decode(ids).endswith("en")


def test_settings_of_a_folder_do_not_change_what_is_written(folder, tmp_path):
    path = shutil.copytree(folder("llama"), tmp_path / "set")
    settings = {"min_length": 30, "no_repeat_ngram_size": 1, "suppress_tokens": list(range(50, 300)), "do_sample": True}
    (path / "generation_config.json").write_text(json.dumps({**settings, "max_length": 500, "repetition_penalty": 1.5}))
    for decoding in (Decoding(max_tokens=8), Decoding(max_tokens=8, beams=2)):
        assert load(path).sample(SAMPLES, 1, decoding, seed=1) == load(folder("llama")).sample(
            SAMPLES, 1, decoding, seed=1
        )


def test_a_group_of_heads_goes_through_generate_and_plain_heads_through_our_loop(folder):
    assert decoder_of(load(folder("llama")).model) is None  # two heads of keys for four of queries
    assert decoder_of(load(folder("gpt2")).model) is not None
    assert decoder_of(load(folder("opt")).model) is None


def edited(folder, tmp_path, name="llama", **changes):
    path = shutil.copytree(folder(name), tmp_path / "edited")
    folders.edit(path / "config.json", **changes)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trust_remote_code": True}, "asks for trust_remote_code"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "it has no language-model head"),
        ({"model_type": "mine"}, "is not one that transformers knows"),
        ({"num_hidden_layers": 2}, "weights are left over"),
        ({"quantization_config": {"bits": 4}}, "the weights are quantised"),
    ],
)
def test_a_folder_that_must_not_be_loaded_is_refused(folder, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        load(edited(folder, tmp_path, **changes))


def test_an_encoder_decoder_without_its_head_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="it has no language-model head"):
        load(edited(folder, tmp_path, "t5", architectures=["T5Model"]))


def test_pickled_weights_are_never_read(folder, tmp_path):
    path = shutil.copytree(folder("llama"), tmp_path / "pickled")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        load(path)


def test_what_does_not_fit_is_said_before_anything_is_loaded(folder, tmp_path):
    with pytest.raises(InputError, match="path is missing"):
        hf.build(policy_data.judgements(), Hf(), Runtime())
    with pytest.raises(InputError, match="no such folder"):
        check_hf(policy_data.judgements(), Hf(path=tmp_path / "nowhere"))
    with pytest.raises(InputError, match="max_prompt and max_tokens are 1,088 tokens together, the model takes 160"):
        check_hf(policy_data.judgements(), Hf(path=folder("llama")))
    with pytest.raises(InputError, match="max_prompt is 1,024, the model takes 64"):
        check_hf(policy_data.judgements(), Hf(path=folder("bart")))
    check_hf(policy_data.judgements(), Hf(path=folder("llama"), **SMALL))
    path = shutil.copytree(folder("llama"), tmp_path / "mute")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (path / file).unlink(missing_ok=True)
    with pytest.raises(InputError, match="has no tokenizer"):
        load(path)


def test_a_tokenizer_without_an_end_is_refused(folder, tmp_path):
    path = shutil.copytree(folder("llama"), tmp_path / "endless")
    folders.edit(path / "tokenizer_config.json", eos_token=None)
    with pytest.raises(InputError, match="no token that ends a response"):
        load(path)


def test_the_reward_hf_likelihood_agrees_with_forward(folder):
    from rmbench.api import Batch, Turn
    from rmbench.builtin.hf_likelihood import hf_likelihood

    texts = ["It sat.", "Yes, it is.", "4 5"]
    none = (None,) * 3
    turns = tuple((Turn("user", one.prompt),) for one in SAMPLES)
    prompts = tuple(one.prompt for one in SAMPLES)
    batch = Batch(("a", "b", "c"), ("a", "b", "c"), turns, prompts, none, tuple(texts), ((),) * 3, ((),) * 3)
    policy = load(folder("gpt2"), chat_template="none")
    written = [policy.encode(text) for text in texts]
    seen = policy.forward([*SAMPLES], written)
    found = torch.log_softmax(seen.logits.double(), 2).gather(2, seen.ids[:, :, None])[:, :, 0] * seen.mask
    ends = torch.tensor([len(one.ids) - 1 for one in written])
    sums = found.sum(1) - found[torch.arange(3), ends]  # without EOS, which the reward does not count
    reward = hf_likelihood(path=folder("gpt2"), normalise="none", chat_template="none")(batch)
    assert torch.allclose(torch.tensor(reward["score"]).double(), sums.detach(), atol=1e-4)
