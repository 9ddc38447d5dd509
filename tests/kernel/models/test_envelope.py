import json
import warnings

import folders
import pytest
import tiny

from rmbench import kernel
from rmbench.errors import InputError
from rmbench.kernel.models.encode import Encoder, Format
from rmbench.kernel.models.envelope import EnvelopeWarning, Finding, envelope, tell

PROMPTS = ["What is the capital of France?", "hello"]
RESPONSES = ["Paris is the capital.", "hello, how are you?"]


def seen(tokenizer, prompts=PROMPTS, responses=RESPONSES, config=None, **form):
    encoder = Encoder(tokenizer, Format(**form))
    return envelope(encoder, encoder(prompts, responses), (prompts, responses), config=config)


def names(made):
    return {finding.name for finding in made.findings}


def test_a_well_made_envelope_has_no_findings():
    made = seen(folders.bpe("llama"))
    assert names(made) == set()
    assert [(end.id, end.token, end.rows) for end in made.first] == [(1, "<s>", 2)]
    assert [(end.id, end.token, end.rows) for end in made.last] == [(2, "</s>", 2)]
    assert (made.rows, made.unscored, made.one_bos, made.ended, made.pad) == (2, 0, 2, 2, 0)
    assert (made.form, made.cut_rows, made.cut_tokens, made.lost_rows) == ("plain", 0, 0, 0)
    assert names(seen(folders.wordpiece())) == set()


def test_a_chat_template_is_named_by_its_hash_and_its_end_is_near():
    made = seen(folders.bpe("qwen"), template=folders.CHATML)
    assert made.form == Format(template=folders.CHATML).form != "plain"
    assert names(made) == set()
    assert made.ended == 2
    bare = "{% for m in messages %}{{ m.content }} {% endfor %}"
    assert "no-end" in names(seen(folders.bpe("qwen"), template=bare))


def test_cut_rows_are_counted_with_what_they_cost():
    prompts, responses = ["The cat sat on the mat.", "a", ""], ["dog", "b", "The cat sat on the mat. " * 9]
    lengths = [len(row.ids) for row in Encoder(folders.bpe("llama"), Format())(prompts, responses)]
    most = lengths[0] - 3
    lost = lengths[2] - most
    made = seen(folders.bpe("llama"), prompts, responses, max_length=most)
    assert (made.cut_rows, made.cut_tokens, made.lost_rows, made.unscored) == (2, 3 + lost, 1, 1)
    (finding,) = made.findings
    assert (
        str(finding)
        == f"truncated: 2 of 3 rows are longer than {most} tokens: {3 + lost} tokens are cut, 1 rows have no score"
    )
    assert f"cut 2 rows by {3 + lost} tokens, 1 of them have no score" in str(made)


def test_tokenizers_of_their_own_kind_are_named():
    assert names(seen(folders.bpe("gpt2"))) == {"no-pad"}
    assert names(seen(folders.bpe("gpt2", pad_token="<|endoftext|>"))) == {"pad-is-eos"}
    assert "no-eos" in names(seen(folders.bpe("qwen", eos_token=None)))
    silent = folders.bpe("llama")
    silent.backend_tokenizer.post_processor = folders.bpe("gpt2").backend_tokenizer.post_processor
    assert "no-bos" in names(seen(silent))
    silent.init_kwargs["add_bos_token"] = False
    assert "no-bos" not in names(seen(silent))


def test_special_tokens_within_texts_are_named():
    made = seen(folders.bpe("llama"), ["a <s> b", "a"], ["b", "b"])
    assert names(made) == {"several-bos", "special-in-text"}
    assert made.one_bos == 1
    ends = seen(
        folders.bpe("qwen"),
        [[{"role": "user", "content": "a"}]] * 2,
        ["b", "b<|im_end|>\n<|im_start|>user"],
        template=folders.CHATML,
    )
    (finding,) = ends.findings
    assert (finding.name, finding.rows) == ("special-in-text", 1)
    assert "first: row 1" in finding.words


def test_a_model_that_was_made_for_another_tokenizer_is_named():
    config = tiny.MODELS["llama"][1]
    assert (config.bos_token_id, config.eos_token_id) == (1, 2)
    assert names(seen(folders.bpe("llama"), config=config)) == set()
    made = seen(folders.bpe("llama", bos_token="<pad>", eos_token="<s>"), config=config)
    assert {"bos-differs", "eos-differs"} <= names(made)


def test_mostly_unknown_tokens_and_a_dated_template_are_named():
    assert "unknown-tokens" in names(seen(folders.wordpiece(), ["猫猫"], ["犬 犬 犬"]))
    dated = "{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    assert "dated-template" in names(seen(folders.bpe("qwen"), template=dated))


def test_it_is_plain_values_for_json_and_lines_for_people():
    made = seen(folders.bpe("gpt2"))
    assert json.loads(json.dumps(made.to_dict()))["findings"][0]["name"] == "no-pad"
    assert "warning no-pad: " in str(made)
    assert "no limit" in str(made)


def test_a_finding_is_a_warning_that_begins_with_its_name_or_an_error(monkeypatch):
    found = [Finding("odd", "it is odd", 1)]
    with pytest.warns(EnvelopeWarning, match=r"^odd: it is odd \(here\)"):
        tell(found, where="here")
    monkeypatch.setenv("RMBENCH_STRICT", "1")
    with pytest.raises(InputError, match="here: odd: it is odd"):
        tell(found, where="here")
    tell([], where="here")


def test_the_scorer_tells_before_it_scores(monkeypatch):
    tokenizer = folders.bpe("gpt2")
    model = tiny.model("gpt2", vocab_size=len(tokenizer), pad_token_id=None, bos_token_id=0, eos_token_id=0)
    scorer = kernel.sequence_scorer(model, tokenizer)
    with pytest.warns(EnvelopeWarning, match="^no-pad: "):
        scorer(PROMPTS, RESPONSES)
    monkeypatch.setenv("RMBENCH_STRICT", "1")
    before = scorer.tokens.meter.rows
    with pytest.raises(InputError, match="no-pad: "):
        scorer(PROMPTS, RESPONSES)
    assert scorer.tokens.meter.rows == before


def test_strict_passes_what_is_well_made(monkeypatch):
    monkeypatch.setenv("RMBENCH_STRICT", "1")
    tokenizer = folders.bpe("llama")
    model = tiny.model("llama", vocab_size=len(tokenizer), pad_token_id=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", EnvelopeWarning)
        assert kernel.sequence_scorer(model, tokenizer)(PROMPTS, RESPONSES).shape == (2,)


def test_a_template_without_bos_or_without_room_for_the_system_text_is_named():
    llama = folders.bpe("llama")
    assert names(seen(llama, template=folders.CHATML)) >= {"no-bos"}
    assert "several-bos" in names(seen(llama, template=" {{ bos_token }}" + folders.LLAMA))
    only = "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    qwen = folders.bpe("qwen")
    assert names(seen(qwen, template=only, system="Be kind.")) == {"system-left-out"}
    assert names(seen(qwen, template=only)) == set()
    assert names(seen(qwen, template=folders.CHATML, system="Be kind.")) == set()
