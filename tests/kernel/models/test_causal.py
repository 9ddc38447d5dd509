"""Log-probabilities of responses, held equal to transformers' own forward pass."""

import causal_models
import folders
import numpy as np
import pytest
import tiny
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.errors import InputError
from rmbench.kernel.models import causal
from rmbench.kernel.models.causal import TokenLikelihoods, causal_scorer
from rmbench.kernel.models.encode import CUT, Encoder, Format
from rmbench.kernel.models.passes import ModelError
from rmbench.kernel.models.sequence import Unscored

pytestmark = pytest.mark.filterwarnings("ignore::rmbench.kernel.models.envelope.EnvelopeWarning")
PROMPTS = ["What is the capital of France?", "Summarise the article.", "What is the capital of France?", "hello", ""]
RESPONSES = [
    "Paris is the capital.",
    "The cat sat on the mat. " * 3,
    "I do not know.",
    "na\u00efve \u732b",
    "short text",
]
PACKED = ("llama", "qwen2", "gpt2", "qwen3")
NEAR = {"rtol": 1e-6, "atol": 2e-5}


def rows(count=40, seed=0):
    """Rows of ids with where their response begins; one in four repeats the row before, one in four shares its prompt."""
    draw = np.random.default_rng(seed)
    found = [(row, int(draw.integers(1, len(row)))) for row in tiny.rows(count, seed) if len(row) > 1]
    for place in range(1, len(found)):
        (before, start), change = found[place - 1], place % 4
        if change == 1:
            found[place] = (before, start)
        elif change == 2:
            found[place] = (np.r_[before[:start], draw.integers(2, tiny.VOCABULARY, 5)], start)
    return [ids for ids, _ in found], [start for _, start in found]


@pytest.mark.parametrize("name", sorted(causal_models.MODELS))
def test_sums_are_those_of_the_models_own_forward_pass(name):
    made = causal_models.model(name)
    ids, starts = rows()
    scorer = TokenLikelihoods(made, batch_tokens=500)
    assert scorer.way == ("packed" if name in PACKED else "single")
    found = scorer(ids, starts, starts)
    expected = [causal_models.own(made, row, start) for row, start in zip(ids, starts, strict=True)]
    np.testing.assert_allclose(found, expected, **NEAR)
    assert np.std(expected) > 1
    assert scorer.meter.repeated > 0
    assert scorer.plan(ids, starts, starts).computed < scorer.plan(ids, starts).computed or name not in PACKED


def test_the_same_ids_with_another_beginning_are_another_row():
    made = causal_models.model("llama")
    found = TokenLikelihoods(made)([[2, 3, 4, 5]] * 3, [1, 3, 1])
    assert found[0] == found[2] < found[1] < 0
    np.testing.assert_allclose(found[1], causal_models.own(made, [2, 3, 4, 5], 3), **NEAR)


def test_sums_do_not_depend_on_what_is_scored_beside_or_on_the_budget():
    made = causal_models.model("qwen2")
    ids, starts = rows(30, seed=1)
    truth = TokenLikelihoods(made)(ids, starts, starts)
    scorer = TokenLikelihoods(made, batch_tokens=120)
    alone = [scorer([row], [start], [start])[0] for row, start in zip(ids, starts, strict=True)]
    order = np.random.default_rng(3).permutation(len(ids))
    mixed = scorer([ids[at] for at in order], [starts[at] for at in order], [starts[at] for at in order])
    np.testing.assert_allclose(alone, truth, **NEAR)
    np.testing.assert_allclose(mixed, truth[order], **NEAR)


def test_logits_are_made_of_some_response_tokens_at_a_time_and_of_no_prompt(monkeypatch):
    made = causal_models.model("llama")
    ids, starts = rows(12, seed=2)
    truth = TokenLikelihoods(made)(ids, starts, starts)
    seen = []
    made.lm_head.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[:-1].numel()))
    monkeypatch.setitem(causal.LOGITS, "cpu", 7 * tiny.VOCABULARY)
    scorer = TokenLikelihoods(made)
    np.testing.assert_allclose(scorer(ids, starts, starts), truth, **NEAR)
    assert max(seen) == 7
    unique = scorer.plan(ids, starts).unique
    assert sum(seen) == sum(len(ids[at]) - starts[at] for at in unique)


def test_a_model_that_is_not_packed_makes_logits_of_the_response_only():
    made = causal_models.model("opt")
    scorer = TokenLikelihoods(made)
    seen = []
    made.lm_head.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2]))
    scorer([range(2, 90)], [80])
    assert seen == [9]


def test_out_of_memory_is_answered_by_halves():
    made = causal_models.model("llama")
    ids, starts = rows(30, seed=4)
    truth = TokenLikelihoods(made)(ids, starts, starts)

    def full(_, given):
        if given[0].numel() > 200:
            raise torch.OutOfMemoryError("CUDA out of memory")

    made.get_input_embeddings().register_forward_pre_hook(full)
    scorer = TokenLikelihoods(made, batch_tokens=1000)
    np.testing.assert_allclose(scorer(ids, starts, starts), truth, **NEAR)
    assert scorer.meter.splits > 0
    assert scorer.budget < 500


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_and_its_log_softmax_is_in_float32(dtype):
    made = causal_models.model("llama")
    ids, starts = rows(10)
    truth = TokenLikelihoods(made)(ids, starts)
    half = TokenLikelihoods(made, dtype=dtype)(ids, starts)
    assert 0 < np.abs(half - truth).max() < 0.05 * np.abs(truth).max()
    logits = torch.tensor([[200.0, 199.0, 0.0]], dtype=torch.bfloat16)
    assert causal.chosen(logits, torch.tensor([1])).item() == pytest.approx(-1.3132617, abs=1e-5)


@pytest.mark.parametrize(
    ("ids", "start", "words"),
    [
        ([2, 3], 2, "none to score from 2"), ([2, 3], 0, "none to score from 0"), ([], 1, "has no tokens"),
        ([2, 199], 1, "token id 199"), ([2] * 161, 1, "has 161 tokens"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be(ids, start, words):
    with pytest.raises(ModelError, match=words):
        TokenLikelihoods(causal_models.model("llama"))([ids], [start])


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (tf.BertLMHeadModel, tf.BertConfig(**tiny.COMMON, **tiny.WIDE, **tiny.LONG)),
        (tf.LlamaForCausalLM, tf.LlamaConfig(**tiny.GROUPED, is_causal=False)),
    ],
)
def test_a_model_that_reads_what_comes_later_is_refused(kind, config):
    torch.manual_seed(0)
    made = kind(config).eval()
    if kind is tf.LlamaForCausalLM and causal.head_of(made, causal.PACKABLE) is not None:
        pytest.fail("packed although it is not causal")
    with pytest.raises(ModelError, match="no causal language model"):
        TokenLikelihoods(made)


def test_a_bert_decoder_is_a_language_model():
    torch.manual_seed(0)
    made = tf.BertLMHeadModel(tf.BertConfig(**tiny.COMMON, **tiny.WIDE, **tiny.LONG, is_decoder=True)).eval()
    found = TokenLikelihoods(made)([[2, 3, 4, 5]], [2])
    np.testing.assert_allclose(found, causal_models.own(made, [2, 3, 4, 5], 2), **NEAR)


@pytest.mark.parametrize("template", [None, folders.CHATML])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "opt"])
def test_texts_are_scored_as_by_hand(name, template):
    """Prompt and response tokenised apart by hand: their tokens meet at a newline, where none of these merges."""
    made, tokenizer = causal_models.pair(name)
    if template is not None and name != "qwen2":
        template = folders.LLAMA.replace("[{{ message.role }}] ", "[{{ message.role }}]\n")
    prompts, responses = PROMPTS[:4], RESPONSES[:4]
    for ended in (False, True):
        found = causal_scorer(made, tokenizer, chat_template=template or "none", ended=ended).rows(prompts, responses)
        for prompt, response, row in zip(prompts, responses, found, strict=True):
            before, own, after = parts(tokenizer, template, prompt, response)
            ids = before + own + (after if ended else [])
            assert row.tokens == len(ids) - len(before)
            assert row.total == pytest.approx(causal_models.own(made, ids, len(before)), rel=1e-5, abs=1e-4)


def parts(tokenizer, template, prompt, response):
    """Ids of what stands before the response, of the response, and of what stands behind it."""
    plain = {"add_special_tokens": False}
    if template is None:
        before = [tokenizer.bos_token_id] if tokenizer("")["input_ids"] else []
        before += tokenizer(f"{prompt}\n", **plain)["input_ids"]
        return before, tokenizer(response, **plain)["input_ids"], [tokenizer.eos_token_id]
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": "@@@@"}]
    before, after = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False).split("@@@@")
    text = response.strip() if "trim" in template else response
    return [tokenizer(some, **plain)["input_ids"] for some in (before, text, after)]


def test_a_text_alone_stands_behind_bos_where_there_is_one():
    text = "The cat sat on the mat."
    for name, template in (("llama", None), ("gpt2", None), ("llama", folders.LLAMA)):
        made, tokenizer = causal_models.pair(name)
        (row,) = causal_scorer(made, tokenizer, chat_template=template or "none").rows([""], [text])
        ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        assert row.tokens == len(ids) - 1
        assert row.total == pytest.approx(causal_models.own(made, ids, 1), rel=1e-5)


def test_without_bos_the_first_token_of_a_text_alone_is_not_counted():
    made, tokenizer = causal_models.pair("qwen2")
    text = "The cat sat on the mat."
    long, one, system = (
        causal_scorer(made, tokenizer, system=system).rows([""], [text])[0]
        for text, system in ((text, None), ("a", None), ("a", "Be kind."))
    )
    ids = tokenizer(text)["input_ids"]
    assert long.tokens == len(ids) - 1
    assert long.total == pytest.approx(causal_models.own(made, ids, 1), rel=1e-5)
    assert one.total == Unscored(causal.FIRST)
    assert system.tokens == 1  # with a system text it does not stand alone


def test_an_empty_response_has_no_likelihood_and_says_so():
    made, tokenizer = causal_models.pair("llama")
    for ended in (False, True):
        scorer = causal_scorer(made, tokenizer, ended=ended)
        found = scorer.rows(["hello", "", "hello"], ["", "", "there"])
        assert [row.total for row in found[:2]] == [Unscored(causal.NOTHING)] * 2
        assert isinstance(found[2].total, float)


def test_truncation_takes_the_prompts_beginning_or_the_responses_end():
    made, tokenizer = causal_models.pair("llama")
    prompt, response = "word " * 30, "The cat sat."
    whole = Encoder(tokenizer, Format())([prompt], [response])[0]
    start, stop = whole.response
    left = causal_scorer(made, tokenizer, max_length=30).rows([prompt], [response])[0]
    over = len(whole.ids) - 30
    ids = [whole.ids[0], *whole.ids[1 + over : stop]]
    assert (left.cut, left.tokens) == (over, stop - start)
    assert left.total == pytest.approx(causal_models.own(made, ids, start - over), rel=1e-5)
    lost = causal_scorer(made, tokenizer, max_length=5).rows([prompt], [response])[0]
    assert lost.total == Unscored(CUT)
    right = causal_scorer(made, tokenizer, max_length=start + 4, truncation="right").rows([prompt], [response])[0]
    assert right.tokens == 3  # and EOS
    assert right.total == pytest.approx(causal_models.own(made, whole.ids[: start + 3], start), rel=1e-5)


def test_a_token_that_the_prompt_shares_does_not_depend_on_the_rows_beside():
    """A response that begins with a newline takes the prompt's into its first token; its neighbours keep theirs."""
    from tokenizers import AddedToken

    tokenizer = folders.bpe()
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False)])
    made = causal_models.model("llama", vocab_size=len(tokenizer))
    scorer = causal_scorer(made, tokenizer)
    both = scorer.rows(["A long prompt of many words."] * 2, ["one", "\none"])
    alone = [scorer.rows(["A long prompt of many words."], [text])[0] for text in ("one", "\none")]
    assert [row.tokens for row in both] == [row.tokens for row in alone]
    np.testing.assert_allclose([row.total for row in both], [row.total for row in alone], **NEAR)
    assert both[1].tokens == both[0].tokens + 1


ENCODERS = [Encoder(folders.bpe("qwen"), Format(template=form, alone=True)) for form in (None, folders.CHATML)]
LETTERS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@settings(max_examples=300, deadline=None)
@given(prompt=LETTERS, response=LETTERS, form=st.sampled_from(["plain", "alone", "chat"]))
def test_the_responses_tokens_spell_the_response(prompt, response, form):
    """Byte-level tokens: put together they are the response, with at most what a token shares with its neighbours."""
    prompt = "" if form == "alone" else f"p{prompt}"
    encoder = ENCODERS[form == "chat"]
    tokenizer = encoder.tokenizer
    (row,) = encoder([prompt], [response])
    start, stop = row.response
    assert start <= stop <= len(row.ids)
    spelt = tokenizer.decode(row.ids[start:stop], skip_special_tokens=False)
    assert response in spelt
    assert spelt.strip("\n") == response.strip("\n")
    assert tokenizer.decode(row.ids[:start], skip_special_tokens=False) + spelt in tokenizer.decode(row.ids)


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_a_folder_scores_as_its_objects_do(name, tmp_path):
    """Qwen2 and GPT-2 tie their heads to the embeddings: safetensors holds one of the two."""
    made, tokenizer = causal_models.pair(name)
    folder = causal_models.save(tmp_path, name)
    assert ("lm_head.weight" in folders.weights(folder)) == (name == "llama")
    want, found = (
        [row.total for row in scorer.rows(PROMPTS, RESPONSES)]
        for scorer in (causal_scorer(made, tokenizer), causal_scorer(folder))
    )
    assert found == pytest.approx(want, rel=1e-6)


def test_a_missing_head_is_an_error_where_it_is_not_tied(tmp_path):
    folder = causal_models.save(tmp_path, "llama")
    tensors = folders.weights(folder)
    del tensors["lm_head.weight"]
    folders.save_weights(folder, tensors)
    with pytest.raises(InputError, match=r"1 weights are missing: lm_head\.weight"):
        causal_scorer(folder)


def test_objects_that_do_not_fit():
    made, tokenizer = causal_models.pair("llama")
    with pytest.raises(ModelError, match="no language-model head"):
        causal_scorer(tiny.model("llama", vocab_size=len(tokenizer)), tokenizer)
    with pytest.raises(InputError, match="the model embeds"):
        causal_scorer(causal_models.model("llama"), tokenizer)
    with pytest.raises(ModelError, match="'padded' is not one of"):
        TokenLikelihoods(made, way="padded")
    with pytest.raises(ModelError, match="cannot be packed|can be packed"):
        TokenLikelihoods(causal_models.model("opt"), way="packed")


def test_a_head_in_the_file_is_used_although_the_configuration_ties_it(tmp_path):
    folder = causal_models.save(tmp_path, "qwen2")
    tensors = folders.weights(folder)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] * 2
    folders.save_weights(folder, tensors)
    model = causal_scorer(folder).tokens.model
    assert torch.equal(model.lm_head.weight, tensors["lm_head.weight"])
    assert torch.equal(model.model.embed_tokens.weight, tensors["model.embed_tokens.weight"])
