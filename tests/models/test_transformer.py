"""The transformer: a fit from texts to a folder that ``hf`` scores alike, from scratch, from a folder, with adapters."""

import hashlib
import json
import sys
import warnings

import numpy as np
import pytest
import torch
from judgements import ratings, words
from neural import agreement, change_weights, edit, fit, from_folder, scores, transformer_options

from rmbench.api import NoScore, Runtime
from rmbench.errors import InputError
from rmbench.kernel import sequence_scorer
from rmbench.models import memory, pretrained, tokenizers, training, transformer
from rmbench.models.ranker import Ranker
from rmbench.models.reading import prompts_of

KINDS = [("llama", "last"), ("llama", "mean"), ("bert", "last"), ("bert", "mean")]


@pytest.fixture(scope="module")
def data():
    return words(60, 20)


@pytest.fixture(scope="module")
def fits(data, tmp_path_factory):
    """The checkpoint of each kind, and the learner that wrote it."""
    made = {}

    def train(learner, *given):
        made["learner"] = learner
        return training.train(learner, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformer, "train", train)
        for architecture, pooling in KINDS:
            options = transformer_options(architecture=architecture, pooling=pooling)
            folder = tmp_path_factory.mktemp("fits") / f"{architecture}-{pooling}"
            made[architecture, pooling] = fit(transformer, data, options, folder), made["learner"]
    return made


@pytest.fixture(scope="module")
def fitted(fits):
    return fits["llama", "last"][0]


def copied(folder, path):
    path.mkdir()
    for file in folder.glob("[!.]*"):
        (path / file.name).write_bytes(file.read_bytes())
    return path


def by_hf(folder, batch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sequence_scorer(folder)(prompts_of(batch), batch.responses)


@pytest.mark.parametrize("kind", KINDS)
def test_the_checkpoint_scores_what_was_trained_alone_and_among_others(kind, fits, data):
    folder, learner = fits[kind]
    with torch.no_grad():
        expected = learner.scores("dev", range(len(data.dev.batch))).numpy()
    found = scores(transformer, folder, data.dev.batch)
    assert found == pytest.approx(expected, abs=1e-5 * found.std())
    alone = [scores(transformer, folder, data.dev.batch.take([row]))[0] for row in (0, 7)]
    assert alone == pytest.approx(found[[0, 7]], abs=1e-5 * found.std())


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_hf_and_transformers_give_the_same_scores(architecture, fits, data):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, _ = fits[architecture, "last"]
    found = scores(transformer, folder, data.dev.batch)
    assert by_hf(folder, data.dev.batch) == pytest.approx(found, abs=1e-6)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row in (0, 3):
        turns = [{"role": "user", "content": data.dev.batch.prompts[row]}]
        turns += [{"role": "assistant", "content": data.dev.batch.responses[row]}]
        given = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            assert float(model(input_ids=given["input_ids"]).logits) == pytest.approx(found[row], abs=1e-5)


def test_hf_refuses_a_folder_with_mean_pooling_in_words(fits):
    with pytest.raises(InputError, match="RmbenchMeanPooling: it has no classification head"):
        by_hf(fits["llama", "mean"][0], None)


def test_it_learns_words_that_it_was_not_shown(data, tmp_path):
    folder = fit(transformer, data, transformer_options(steps=40), tmp_path)
    assert agreement(scores(transformer, folder, data.dev.batch), data.dev.pairs) >= 0.9


def test_a_pair_is_computed_as_its_rows_alone(fits, data):
    """Prompts that two rows share are computed once; the mean over a row counts them in both."""
    for kind in KINDS:
        module = fits[kind][1].module
        rows = [np.concatenate([np.arange(6, 20), tail]) for tail in (np.array([30, 31]), np.array([40, 41, 42, 2]))]
        with torch.no_grad():
            together = module(rows, [14, 14]).numpy()
            alone = [module([row], [0]).item() for row in rows]
            if kind[1] == "mean":
                hidden = [module.model.base_model(torch.from_numpy(row)[None]).last_hidden_state for row in rows]
                expected = [module.head(one.mean(1)).item() for one in hidden]
            else:
                expected = [module.model(torch.from_numpy(row)[None]).logits.item() for row in rows]
        assert together == pytest.approx(alone, abs=1e-5)
        assert together == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_rows_alone(kind, fits):
    module = fits[kind][1].module
    rows = [np.concatenate([np.arange(6, 20), tail]) for tail in (np.array([30, 31]), np.array([40, 41, 42, 2]))]
    found = []
    for score in (lambda: module(rows, [14, 14]), lambda: torch.cat([module([row], [0]) for row in rows])):
        module.zero_grad()
        one, other = score()
        (one - other).square().backward()
        found.append(
            {name: weights.grad.clone() for name, weights in module.named_parameters() if weights.grad is not None}
        )
    module.zero_grad()
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-6 + 1e-4 * float(found[1][name].abs().max())), name


def test_weights_are_counted_without_a_model():
    for options in (transformer_options(), transformer_options(architecture="bert", layers=3, hidden=24, heads=3)):
        files = tokenizers.train(["a b c"], vocabulary=400, max_length=64)
        tokenizer = tokenizers.made_of(files)
        made = pretrained.new(options, tokenizer)
        assert pretrained.size(options, len(tokenizer)) == sum(weights.numel() for weights in made.parameters())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(fits, data, tmp_path):
    def digest(folder):
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("[!.]*")}

    options = transformer_options(architecture="bert")
    again = fit(transformer, data, options, tmp_path / "again")
    assert digest(again) == digest(fits["bert", "last"][0])
    other = fit(transformer, data, options, tmp_path / "other", runtime=Runtime(seed=2))
    assert digest(other)["model.safetensors"] != digest(again)["model.safetensors"]


@pytest.mark.parametrize(("architecture", "pooling"), [("llama", "last"), ("bert", "last"), ("llama", "mean")])
def test_ratings_give_scores_on_the_raters_scale(architecture, pooling, tmp_path):
    made = ratings()
    options = transformer_options(architecture=architecture, pooling=pooling, steps=25)
    folder = fit(transformer, made, options, tmp_path, "squared")
    found = scores(transformer, folder, made.dev.batch)
    assert np.abs(found - np.array(made.dev.targets)).mean() < 1.5
    if pooling == "last":  # a decoder's head has no bias: hf leaves the mean out
        shift = json.loads((folder / "config.json").read_text())["reading"]["shift"]
        assert (shift != 0.0) == (architecture == "llama")
        assert by_hf(folder, made.dev.batch) + shift == pytest.approx(found, abs=1e-5)


def test_without_a_template_rows_are_prompt_newline_response(data, tmp_path):
    folder = fit(transformer, data, transformer_options(chat_template="none", steps=2), tmp_path)
    assert not (folder / "chat_template.jinja").exists()
    found = scores(transformer, folder, data.dev.batch)
    assert by_hf(folder, data.dev.batch) == pytest.approx(found, abs=1e-6)


def test_left_leaves_a_long_response_without_a_score(data, tmp_path):
    folder = fit(transformer, data, transformer_options(truncation="left", steps=2), tmp_path)
    batch = data.dev.batch.take([0, 1])
    from dataclasses import replace

    batch = replace(batch, responses=(batch.responses[0], " ".join(["clear"] * 300)))
    found = transformer.load(folder, Runtime())(batch)["score"]
    assert isinstance(found[0], float)
    assert isinstance(found[1], NoScore)


def base(path, kind, **config):
    """A folder of a model without a classification head, and a tokenizer with a chat template of its own."""
    from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    files = tokenizers.train(words(40, 0).train.batch.responses, vocabulary=320, max_length=48)
    tokenizer = tokenizers.made_of(files)
    torch.manual_seed(3)
    wide = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": len(tokenizer)}
    made = {
        "bert": lambda: BertModel(BertConfig(**{**wide, **special, "max_position_embeddings": 48, **config})),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**{**special, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 48, **config})),
        "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**{**wide, **special, "max_position_embeddings": 48, **config})),
    }[kind]()  # fmt: skip
    made.save_pretrained(path)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["bert", "gpt2", "neox"])
@pytest.mark.parametrize("more", [{}, {"pooling": "mean"}, {"lora_rank": 2}])
def test_a_fit_goes_on_from_a_local_folder(kind, more, data, tmp_path):
    folder = base(tmp_path / "base", kind)
    made = fit(transformer, data, from_folder(folder, max_length=40, **more), tmp_path / "rm")
    found = scores(transformer, made, data.dev.batch)
    assert found.std() > 0
    assert not list(made.glob("*adapter*"))
    if "pooling" not in more:
        assert by_hf(made, data.dev.batch) == pytest.approx(found, abs=1e-6)
        assert json.loads((made / "tokenizer_config.json").read_text())["model_max_length"] == 40


def test_adapters_leave_the_rest_as_it_was_and_are_merged(data, tmp_path):
    from safetensors.torch import load_file

    folder = base(tmp_path / "base", "bert")
    whole = fit(transformer, data, from_folder(folder, max_length=40, lora_rank=1), tmp_path / "rm")
    before, after = load_file(folder / "model.safetensors"), load_file(whole / "model.safetensors")
    moved = {name: after[f"bert.{name}"] - weights for name, weights in before.items()}
    assert not moved["embeddings.word_embeddings.weight"].any()
    change = moved["encoder.layer.0.attention.self.query.weight"]
    values = torch.linalg.svdvals(change)
    assert values[0] > 0
    assert values[1] < 1e-5 * values[0] + 1e-8  # of rank 1
    assert {name.split(".")[0] for name in after} == {"bert", "classifier"}


def test_a_reward_model_goes_on_with_its_own_head(fitted, data, tmp_path):
    made = fit(transformer, data, from_folder(fitted, steps=1, learning_rate=1e-9, dropout=0.0), tmp_path / "rm")
    before, after = (scores(transformer, folder, data.dev.batch) for folder in (fitted, made))
    assert after == pytest.approx(before, abs=1e-4)


def test_without_peft_adapters_are_refused_with_the_command(data, tmp_path, monkeypatch):
    folder = base(tmp_path / "base", "bert")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"needs the package peft\n.*pip install 'rmbench\[lora\]'"):
        fit(transformer, data, from_folder(folder, max_length=40, lora_rank=2), tmp_path / "rm")


def refuse(*_):
    raise AssertionError("a model was trained")


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({}, {"max_length": 49}, "max_length is 49, the model takes 48 tokens"),
        ({"vocab_size": 100}, {}, "of another shape: .*word_embeddings"),
        ({"num_hidden_layers": 10**9}, {}, "has 1000000000 layers"),
        ({"hidden_size": 10**6, "num_attention_heads": 2}, {}, "weights, .* GB are free"),
        ({"num_hidden_layers": 1}, {}, "left over: .*layer.1"),
        ({"num_hidden_layers": 3}, {}, "missing: .*layer.2"),
        ({"model_type": "nothing"}, {}, "'nothing' is not one that transformers knows"),
        ({"model_type": None}, {}, "has no model_type"),
        ({"quantization_config": {"bits": 4}}, {}, "quantised"),
        ({"attn_implementation": "evil/kernel"}, {}, "may name code"),
        ({"trust_remote_code": True}, {}, "trust_remote_code"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_before_training(changes, more, words, data, tmp_path, monkeypatch):
    monkeypatch.setattr(transformer, "train", refuse)
    folder = base(tmp_path / "base", "bert")
    edit(folder / "config.json", **changes)
    with pytest.raises(InputError, match=words):
        fit(transformer, data, from_folder(folder, **{"max_length": 40, **more}), tmp_path / "rm")


def test_weights_of_a_folder_are_looked_at(data, tmp_path, monkeypatch):
    monkeypatch.setattr(transformer, "train", refuse)
    folder = base(tmp_path / "base", "bert")
    change_weights(folder, lambda tensors: tensors["encoder.layer.0.output.dense.bias"].fill_(float("nan")))
    with pytest.raises(InputError, match="hold NaN or infinity"):
        fit(transformer, data, from_folder(folder, max_length=40), tmp_path / "rm")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="no safetensors"):
        fit(transformer, data, from_folder(folder, max_length=40), tmp_path / "rm")


def test_code_beside_a_folder_is_never_run(data, tmp_path):
    folder = base(tmp_path / "base", "bert")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    edit(folder / "config.json", auto_map={"AutoModel": "evil.Model", "AutoConfig": "evil.Config"})
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    made = fit(transformer, data, from_folder(folder, max_length=40, steps=1), tmp_path / "rm")
    assert not (tmp_path / "ran").exists()
    assert "auto_map" not in (made / "config.json").read_text() + (made / "tokenizer_config.json").read_text()
    scores(transformer, made, data.dev.batch)


def test_more_memory_than_there_is_is_an_error_before_anything_is_made(data, tmp_path, monkeypatch):
    monkeypatch.setattr(transformer, "train", refuse)
    with pytest.raises(InputError, match="weights, .* GB are free"):
        fit(transformer, data, transformer_options(hidden=2**18, layers=100), tmp_path)
    folder = base(tmp_path / "base", "bert")
    monkeypatch.setattr(memory, "free_memory", lambda: 60_000)
    with pytest.raises(InputError, match="of them learnt"):  # all weights are too many, adapters are not
        fit(transformer, data, from_folder(folder, max_length=40), tmp_path / "rm")
    monkeypatch.setattr(transformer, "train", training.train)
    fit(transformer, data, from_folder(folder, max_length=40, lora_rank=1, steps=1), tmp_path / "rm")


@pytest.mark.parametrize("kind", [("llama", "last"), ("llama", "mean")])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop(min(tensors)), "missing"),
        (lambda tensors: tensors.update({"model.layers.7.more": torch.zeros(2)}), "left over"),
        (lambda tensors: tensors.update({min(tensors): torch.zeros(3, 3)}), "shape"),
        (lambda tensors: tensors[min(tensors)].fill_(float("inf")), "NaN or infinity"),
    ],
)
def test_weights_that_are_not_of_the_configuration_are_named(kind, change, words, fits, tmp_path):
    folder = copied(fits[kind][0], tmp_path / "rm")
    change_weights(folder, change)
    with pytest.raises(InputError, match=words):
        transformer.load(folder, Runtime())


@pytest.mark.parametrize("kind", [("llama", "last"), ("llama", "mean")])
def test_a_tokenizer_with_more_tokens_than_the_model_embeds_is_refused(kind, fits, tmp_path):
    folder = copied(fits[kind][0], tmp_path / "rm")
    other = tokenizers.train([f"w{number} w{number}" for number in range(999)], vocabulary=600, max_length=64)
    (folder / "tokenizer.json").write_bytes(other["tokenizer.json"])
    with pytest.raises(InputError, match="the tokenizer has ids up to 599, the model embeds"):
        transformer.load(folder, Runtime())


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (None, "has no object 'reading'"),
        ({"max_length": 0}, "max_length is 0"),
        ({"max_length": 64, "truncation": "up"}, "truncation is 'up'"),
        ({"max_length": 64, "truncation": "left", "pooling": "max"}, "pooling is 'max'"),
        ({"max_length": 64, "truncation": "left", "pooling": "last", "shift": "1"}, "shift is '1'"),
    ],
)
def test_a_configuration_that_fit_does_not_write_is_refused(reading, words, fitted, tmp_path):
    folder = copied(fitted, tmp_path / "rm")
    edit(folder / "config.json", reading=reading)
    with pytest.raises(InputError, match=words):
        transformer.load(folder, Runtime())


def test_a_module_has_no_dropout_where_it_scores(fits):
    module = Ranker(fits["bert", "last"][1].module.model, pooling="last", dropout=0.5)
    row = [np.arange(6, 20)]
    module.train()
    assert module(row, [0]).item() != module(row, [0]).item()
    module.eval()
    assert module(row, [0]).item() == module(row, [0]).item()
