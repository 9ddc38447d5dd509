import folders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from rmbench.errors import InputError
from rmbench.kernel.models import encode
from rmbench.kernel.models.encode import Encoder, Format

LLAMA, GPT2, QWEN, BERT = folders.bpe("llama"), folders.bpe("gpt2"), folders.bpe("qwen"), folders.wordpiece()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SPOKEN = st.lists(st.sampled_from(" ".join(folders.SENTENCES).split()), min_size=1, max_size=30).map(" ".join)


def ids(tokenizer, prompts, responses, **form):
    return Encoder(tokenizer, Format(**form))(prompts, responses)


def test_plain_form_is_prompt_newline_response_and_eos():
    (row,) = ids(LLAMA, ["The cat"], ["sat on the mat."])
    assert LLAMA.decode(row.ids) == "<s>The cat\nsat on the mat.</s>"
    assert LLAMA.decode(row.ids[: row.prompt]) == "<s>The cat\n"
    assert row.ids.dtype == np.int32
    assert (row.cut, row.reason) == (0, None)


def test_plain_form_of_a_tokenizer_that_writes_nothing_and_of_one_that_writes_its_own_end():
    assert GPT2.decode(ids(GPT2, ["The cat"], ["sat"])[0].ids) == "The cat\nsat<|endoftext|>"
    row = ids(BERT, ["The cat"], ["sat"])[0]
    assert BERT.convert_ids_to_tokens(row.ids) == ["[CLS]", "the", "cat", "sat", "[SEP]"]
    assert row.prompt == 3


def test_the_template_writes_what_surrounds_the_response():
    (row,) = ids(QWEN, ["The cat"], ["sat"], template=folders.CHATML)
    said = "<|im_start|>user\nThe cat<|im_end|>\n<|im_start|>assistant\nsat<|im_end|>\n"
    assert QWEN.decode(row.ids) == said
    assert QWEN.decode(row.ids[: row.prompt]) == said[: said.index("sat")]


@pytest.mark.parametrize("template", [folders.CHATML, folders.LLAMA, " {{ bos_token }}" + folders.LLAMA])
@pytest.mark.parametrize("name", ["llama", "qwen", "ends"])
def test_with_a_template_the_tokens_are_those_of_apply_chat_template(template, name):
    tokenizer = folders.bpe("llama" if name == "ends" else name)
    if name == "ends":  # as one that writes an end of its own, behind the template's
        tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    turns = [{"role": "user", "content": "The cat"}]
    (row,) = ids(tokenizer, [turns], ["sat"], template=template)
    answer = [*turns, {"role": "assistant", "content": "sat"}]
    wanted = tokenizer.apply_chat_template(answer, chat_template=template, return_dict=False)
    assert row.ids.tolist() == wanted
    assert "sat" not in tokenizer.decode(row.ids[: row.prompt])


@pytest.mark.parametrize("form", [{}, {"template": folders.LLAMA}])
def test_one_bos_and_one_eos_whoever_writes_them(form):
    (row,) = ids(LLAMA, ["The cat"], ["sat"], **form)
    assert list(row.ids).count(LLAMA.bos_token_id) == 1
    assert row.ids[0] == LLAMA.bos_token_id
    assert list(row.ids).count(LLAMA.eos_token_id) == 1
    assert row.ids[-1] == LLAMA.eos_token_id


def test_a_response_that_ends_with_eos_or_a_prompt_that_begins_with_bos_does_not_double_it():
    (row,) = ids(LLAMA, ["<s>The cat"], ["sat</s>"])
    assert LLAMA.decode(row.ids) == "<s>The cat\nsat</s>"
    assert LLAMA.decode(row.ids[: row.prompt]) == "<s>The cat\n"


def test_messages_and_a_string_are_the_same_conversation():
    turns = [{"role": "user", "content": "The cat"}]
    for form in ({}, {"template": folders.CHATML}):
        one, other = ids(QWEN, ["The cat", turns], ["sat", "sat"], **form)
        assert list(one.ids) == list(other.ids)
        assert one.prompt == other.prompt


def test_several_messages_in_the_plain_form_read_as_in_batch_prompts():
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "tool", "content": "c"}]
    assert QWEN.decode(ids(QWEN, [turns], ["d"])[0].ids) == "Human: a\n\nAssistant: b\n\nTool: c\nd<|im_end|>"


def test_system_stands_before_a_conversation_without_its_own():
    own = [{"role": "system", "content": "own"}, {"role": "user", "content": "hello"}]
    mine, theirs = ids(QWEN, ["hello", own], ["hi", "hi"], template=folders.CHATML, system="be kind")
    assert QWEN.decode(mine.ids).startswith("<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user")
    assert QWEN.decode(theirs.ids).startswith("<|im_start|>system\nown<|im_end|>\n<|im_start|>user")
    assert QWEN.decode(ids(QWEN, ["hello"], ["hi"], system="be kind")[0].ids) == "be kind\nhello\nhi<|im_end|>"
    assert QWEN.decode(ids(QWEN, [own], ["hi"], system="be kind")[0].ids) == "System: own\n\nHuman: hello\nhi<|im_end|>"


def test_left_truncation_keeps_bos_and_the_response_and_counts_what_it_took():
    whole = ids(LLAMA, ["The cat sat on the mat"], ["and looked"])[0]
    cut = ids(LLAMA, ["The cat sat on the mat"], ["and looked"], max_length=len(whole.ids) - 2)[0]
    assert list(cut.ids) == [whole.ids[0], *whole.ids[3:]]
    assert (cut.cut, cut.prompt, cut.reason) == (2, whole.prompt - 2, None)


@pytest.mark.parametrize("tokenizer", [LLAMA, GPT2, BERT], ids=["llama", "gpt2", "bert"])
def test_a_response_that_does_not_fit_has_no_score_and_one_that_just_fits_has(tokenizer):
    whole = ids(tokenizer, ["The cat"], ["sat on the mat"])[0]
    bos = int(whole.ids[0] == Encoder(tokenizer, Format()).bos)
    least = len(whole.ids) - whole.prompt + bos
    fits = ids(tokenizer, ["The cat"], ["sat on the mat"], max_length=least)[0]
    assert list(fits.ids[bos:]) == list(whole.ids[whole.prompt :])
    assert fits.prompt == bos
    lost = ids(tokenizer, ["The cat"], ["sat on the mat"], max_length=least - 1)[0]
    assert (len(lost.ids), lost.reason, lost.cut) == (0, encode.CUT, len(whole.ids) - least + 1)


def test_right_truncation_is_a_choice_and_keeps_the_end():
    whole = ids(LLAMA, ["The cat"], ["sat on the mat"])[0]
    cut = ids(LLAMA, ["The cat"], ["sat on the mat"], max_length=len(whole.ids) - 1, truncation="right")[0]
    assert list(cut.ids) == [*whole.ids[:-2], LLAMA.eos_token_id]
    gone = ids(LLAMA, ["The cat"], ["sat on the mat"], max_length=whole.prompt, truncation="right")[0]
    assert gone.reason == encode.GONE


def test_truncation_error_names_the_rows():
    with pytest.raises(InputError, match="rows 1 are longer than max_length"):
        ids(LLAMA, ["a", "The cat sat"], ["b", "on the mat"], max_length=6, truncation="error")
    with pytest.raises(ValueError, match="expected one of: left, right, error"):
        Format(truncation="middle")
    with pytest.raises(ValueError, match="at least 1"):
        Format(max_length=0)


def test_responses_of_one_prompt_share_a_prefix_also_where_a_newline_merges():
    prompt = "What is the capital of France?\n"
    tokenizer = folders.bpe("llama")
    tokenizer.add_tokens(["\n\n"])  # the prompt's end and the separator, or the separator and the response's beginning
    rows = ids(tokenizer, [prompt[:-1]] * 3, ["Paris", "\nParis", "I do not know"])
    assert len({row.prompt for row in rows}) == 1
    assert len({tuple(row.ids[: row.prompt]) for row in rows}) == 1
    assert rows[0].prompt == len(tokenizer(prompt[:-1])["input_ids"])


def test_rows_cut_by_different_lengths_share_nothing_that_differs():
    prompts = ["The cat sat on the mat and looked at the dog."] * 2
    rows = ids(LLAMA, prompts, ["yes", "yes and no and yes and no"], max_length=14)
    assert [row.reason for row in rows] == [None, None]
    assert all(row.prompt <= len(row.ids) for row in rows)
    assert rows[0].prompt != rows[1].prompt


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(TEXTS | SPOKEN, TEXTS | SPOKEN), max_size=6), st.sampled_from(["llama", "gpt2", "qwen", "bert"])
)
def test_rows_do_not_depend_on_their_neighbours_and_begin_with_what_the_prompt_gives(pairs, name):
    tokenizer = {"llama": LLAMA, "gpt2": GPT2, "qwen": QWEN, "bert": BERT}[name]
    template = folders.CHATML if name == "qwen" else None
    encoder = Encoder(tokenizer, Format(template=template))
    together = encoder([prompt for prompt, _ in pairs], [response for _, response in pairs])
    for (prompt, response), row in zip(pairs, together, strict=True):
        alone = encoder([prompt], [response])[0]
        assert list(alone.ids) == list(row.ids)
        assert alone.reason == row.reason
        assert row.prompt <= alone.prompt <= len(row.ids)


@settings(max_examples=200, deadline=None)
@given(SPOKEN, SPOKEN, st.integers(1, 60), st.sampled_from(["left", "right"]), st.sampled_from([None, folders.CHATML]))
def test_no_row_is_longer_than_asked_and_a_scored_one_keeps_its_response(prompt, response, most, truncation, template):
    whole = Encoder(QWEN, Format(template=template))([prompt], [response])[0]
    row = Encoder(QWEN, Format(most, truncation, template))([prompt], [response])[0]
    assert len(row.ids) <= most
    assert row.cut == max(0, len(whole.ids) - most)
    if row.reason is None and truncation == "left":
        assert list(row.ids) == list(whole.ids[len(whole.ids) - len(row.ids) :])
        assert row.cut <= whole.prompt


def test_chunks_hold_every_text_once_and_do_not_change_a_row(monkeypatch):
    prompts = [f"The cat {n}" for n in range(50)]
    responses = [sentence * (n % 4) for n, sentence in enumerate(folders.SENTENCES * 8)][:50]
    before = ids(LLAMA, prompts, responses)
    monkeypatch.setattr(encode, "CHUNK", 200)
    after = ids(LLAMA, prompts, responses)
    assert [list(row.ids) for row in before] == [list(row.ids) for row in after]
    assert [row.prompt for row in before] == [row.prompt for row in after]


def test_empty_texts_are_rows_like_others_and_nothing_at_all_is_a_reason():
    both, no_prompt, no_response = ids(LLAMA, ["", "", "The cat"], ["", "sat", ""])
    assert LLAMA.decode(both.ids) == "<s>\n</s>"
    assert LLAMA.decode(no_prompt.ids) == "<s>\nsat</s>"
    assert LLAMA.decode(no_response.ids) == "<s>The cat\n</s>"
    assert no_response.prompt == len(no_response.ids) - 1
    tokenizer = folders.wordpiece()
    tokenizer.backend_tokenizer.post_processor = None
    tokenizer.sep_token = None
    assert ids(tokenizer, [" "], [""])[0].reason == encode.EMPTY
    assert ids(LLAMA, [], []) == []


def test_text_without_tokens_is_an_error_and_unknown_words_are_none():
    class Mute:
        """As a tokenizer that another class reads: [] for every text."""

        bos_token_id = cls_token_id = eos_token_id = sep_token_id = None
        is_fast = False
        all_special_ids = ()

        @property
        def added_tokens_decoder(self):
            return {}

        def num_special_tokens_to_add(self):
            return 0

        def __call__(self, texts, **_):
            return {"input_ids": [[] for _ in texts]}

    with pytest.raises(InputError, match=r"gives no token for 'The cat\\nsat'"):
        ids(Mute(), ["The cat"], ["sat"])
    assert BERT.convert_ids_to_tokens(ids(BERT, ["猫"], ["犬"])[0].ids) == ["[CLS]", "[UNK]", "[UNK]", "[SEP]"]


def test_a_response_that_the_tokenizer_drops_has_no_score():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE({"c": 0, "a": 1, "t": 2}, []))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    rows = ids(tokenizer, ["cat", "cat", "cat"], ["犬", "犬 cat", ""])
    assert [row.reason for row in rows] == [encode.SILENT, None, None]
    template = "{% for m in messages %}{{ m.content }} t {% endfor %}"
    assert [row.reason for row in ids(tokenizer, ["cat"], ["犬"], template=template)] == [encode.SILENT]


def test_a_lone_surrogate_is_a_reason_of_its_row_only():
    rows = ids(LLAMA, ["a", "a"], ["\ud800", "b"])
    assert [row.reason for row in rows] == [encode.SURROGATE, None]
    assert ids(QWEN, ["\udfff"], ["b"], template=folders.CHATML)[0].reason == encode.SURROGATE


@pytest.mark.parametrize(
    ("prompts", "responses", "words"),
    [
        (["a"], [], "1 prompts and 0 responses"),
        ("a", ["b"], "prompts is one text"),
        (["a"], "b", "responses is one text"),
        (["a", "a"], ["b", None], "response 1 is NoneType"),
        ([1], ["b"], "prompt 0 is neither"),
        ([[]], ["b"], "prompt 0 is neither"),
        ([[{"role": "user"}]], ["b"], "prompt 0 is neither"),
        ([[{"role": "user", "content": 3}]], ["b"], "prompt 0 is neither"),
        ([["user"]], ["b"], "prompt 0 is neither"),
    ],
)
def test_what_is_no_column_of_texts_is_named(prompts, responses, words):
    with pytest.raises(ValueError, match=words):
        ids(LLAMA, prompts, responses)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for %}", "TemplateSyntaxError"),
        ("{{ ''.__class__.__mro__ }}{{ messages[-1].content }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "leaves the response out"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_before_a_row_is_read(template, words):
    with pytest.raises(InputError, match=words):
        Encoder(QWEN, Format(template=template))


def test_what_a_template_refuses_is_a_reason_of_its_row():
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{% for m in messages %}{{ 100 // (m.content | length) }} {{ m.content }}{% endfor %}"
    )
    encoder = Encoder(QWEN, Format(template=template))
    rows = encoder(
        [[{"role": "system", "content": "x"}, {"role": "user", "content": "y"}], "hello", "hello"], ["a", "b", ""]
    )
    assert rows[0].reason == "the chat template refuses the messages: TemplateError: no system turn"
    assert rows[1].reason is None
    assert "ZeroDivisionError" in rows[2].reason


def test_a_loop_of_a_template_is_bounded_by_the_sandbox_only_where_it_counts_at_once():
    """One range is; loops within loops are not: the module says so, and the worker's time limit ends them."""
    template = "{% for i in range(10000000) %}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}"
    (row,) = Encoder(QWEN, Format(template=template))(["a"], ["b"])
    assert row.reason.startswith("the chat template refuses the messages: OverflowError: Range too big")


def test_a_template_that_rewrites_the_response_still_shows_where_it_begins():
    trims = "{% for m in messages %}<|im_start|>{{ m.content | trim }}<|im_end|>{% endfor %}"
    thinks = (
        "{% for m in messages %}<|im_start|>{% if '</think>' in m.content %}<think>{{ m.content.split('</think>')[-1] }}"
        "{% else %}<think></think>{{ m.content }}{% endif %}<|im_end|>{% endfor %}"
    )
    for template, response in ((trims, "  sat on \n"), (thinks, "well</think>sat on")):
        (row,) = Encoder(QWEN, Format(template=template))(["The cat"], [response])
        assert "sat on" in QWEN.decode(row.ids[row.prompt :])
        assert "cat" not in QWEN.decode(row.ids[row.prompt :])


def test_a_template_that_asks_for_the_date_is_given_a_fixed_one():
    template = (
        "{% if date_string is not defined %}{% set date_string = strftime_now('%Y') %}{% endif %}"
        "{{ date_string }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    assert QWEN.decode(ids(QWEN, ["a"], ["b"], template=template)[0].ids).startswith(encode.DATE)


def test_padding_and_truncation_that_a_tokenizer_file_holds_are_not_applied():
    tokenizer = folders.wordpiece()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    row = ids(tokenizer, ["the cat"], ["sat on the mat"])[0]
    assert tokenizer.pad_token_id not in row.ids
    assert list(row.ids) == list(ids(BERT, ["the cat"], ["sat on the mat"])[0].ids)


def test_the_form_is_named_by_the_hash_of_the_template():
    assert Format().form == "plain"
    assert Format(template=folders.CHATML).form != Format(template=folders.LLAMA).form
    assert len(Format(template=folders.CHATML).form) == 8
