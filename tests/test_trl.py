"""Rewards inside TRL's own trainers, and TRL's own reward functions as rewards: a tiny model, on the CPU, offline."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rmbench
from rmbench import Batch, Reward, Turn, from_trl, to_trl

WORDS = "the cat sat on a mat and dog barked at user assistant :"
TRUTHS = (["the cat sat on the mat"], ["a dog barked", "the dog barked at a cat"])
CHAT = (
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)
MIX = {"rouge-1": 2.0, "length": -0.125}


@dataclass
class Call:
    """What a trainer passed to a reward function, and what that gave."""

    given: dict
    scores: list


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """Hugging Face's packages read these when they are imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        yield


def word_tokenizer():
    """One token a word, so that a model that knows nothing still writes words of the references."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(special_tokens=["<pad>", "<eos>", "<unk>"], show_progress=False)
    words.train_from_iterator([WORDS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", chat_template=CHAT
    )


def tiny_model(tokens):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    shape = LlamaConfig(
        vocab_size=tokens, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(shape)


def prompt_rows(*, conversational):
    texts = ["the cat", "a dog", "dog and cat", "on the mat"]
    prompts = [[{"role": "system", "content": "the"}, {"role": "user", "content": text}] for text in texts]
    return [
        {"prompt": talk if conversational else text, "references": TRUTHS[i % 2], "judged": i != 2}
        for i, (talk, text) in enumerate(zip(prompts, texts, strict=True))
    ]


def recorded(function: Callable, calls: list[Call]):
    def watched(**given):
        calls.append(Call(given, function(**given)))
        return calls[-1].scores

    watched.__name__ = function.__name__
    return watched


def train(kind, functions, folder, *, conversational):
    """Two steps of a trainer on four prompts, two completions each; return the calls by function, and the log."""
    import trl
    from datasets import Dataset

    config, trainer = {"grpo": (trl.GRPOConfig, trl.GRPOTrainer), "rloo": (trl.RLOOConfig, trl.RLOOTrainer)}[kind]
    calls = {function.__name__: [] for function in functions}
    tokenizer = word_tokenizer()
    made = trainer(
        model=tiny_model(len(tokenizer)),
        reward_funcs=[recorded(function, calls[function.__name__]) for function in functions],
        args=config(
            output_dir=str(folder), use_cpu=True, bf16=False, seed=3, per_device_train_batch_size=4, num_generations=2,
            max_completion_length=8, max_steps=2, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
            beta=0.0,  # no reference model: RLOO would load it by name
        ),
        train_dataset=Dataset.from_list(prompt_rows(conversational=conversational)),
        processing_class=tokenizer,
    )  # fmt: skip
    made.train()
    return calls, [entry for entry in made.state.log_history if "reward" in entry]


def rows_of(call, *, conversational):
    """The rows that somebody would give to rmbench.score for what the trainer passed."""
    given = call.given
    columns = zip(given["prompts"], given["completions"], given["references"], given["judged"], strict=True)
    return [
        {
            "messages" if conversational else "prompt": prompt,
            "response": completion[-1]["content"] if conversational else completion,
            "references": references,
            "meta": {"judged": judged},
        }
        for prompt, completion, references, judged in columns
    ]


def judged(batch):
    """Words of the response, where somebody judged the prompt."""
    return [
        float(len(text.split())) if meta["judged"] else None
        for text, meta in zip(batch.responses, batch.meta, strict=True)
    ]


@dataclass
class Trained:
    """One training with five reward functions: their calls, the log, and what the fifth saw of each row."""

    calls: dict[str, list[Call]]
    log: list[dict]
    seen: list[tuple]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train once for all tests that read how it went."""

    @cache
    def once(kind, *, conversational):
        seen = []

        def keys(batch):
            seen.extend(zip(batch.meta, batch.references, batch.groups, strict=True))
            return [1.0] * len(batch)

        composite = {"use": "composite", "name": "mix", "options": {"weights": MIX}}
        functions = [to_trl(each) for each in ("rouge-l", composite, judged, "length", keys)]
        calls, log = train(kind, functions, tmp_path_factory.mktemp(kind), conversational=conversational)
        return Trained(calls, log, seen)

    return once


@pytest.mark.parametrize(("kind", "conversational"), [("grpo", False), ("grpo", True), ("rloo", True)])
def test_a_trainer_logs_the_rewards_that_rmbench_gives(kind, conversational, trained):
    made = trained(kind, conversational=conversational)
    assert [len(calls) for calls in made.calls.values()] == [2] * 5
    again = {"rouge-l": ("rouge-l", {}), "mix": ("composite", {"weights": MIX}), "judged": (judged, {})}
    for name, (reward, options) in again.items():
        rows = [row for call in made.calls[name] for row in rows_of(call, conversational=conversational)]
        scores = [row["score"] for row in rmbench.score(reward, rows, options)]
        assert [value for call in made.calls[name] for value in call.scores] == scores
        for entry, some in zip(made.log, (scores[:4], scores[4:]), strict=True):
            told = fmean(value for value in some if value is not None)
            assert entry[f"rewards/{name}/mean"] == pytest.approx(told, abs=1e-6)
    assert (
        len({value for call in made.calls["rouge-l"] for value in call.scores}) > 2
    )  # the model wrote words that count


@pytest.mark.parametrize("conversational", [False, True], ids=["texts", "messages"])
def test_the_function_gets_what_trl_passes_and_none_is_left_out(conversational, trained):
    made = trained("grpo", conversational=conversational)
    for call in made.calls["judged"]:
        assert {"prompts", "completions", "completion_ids", "trainer_state", "references", "judged"} <= set(call.given)
        assert {"log_extra", "log_metric"} <= set(call.given)  # no columns: they never reach a reward
        assert isinstance(call.given["prompts"][0], list) is conversational
        assert [value is None for value in call.scores] == [not yes for yes in call.given["judged"]]
    every = [value for call in made.calls["judged"] for value in call.scores]
    assert every.count(None) == 2  # one prompt of four, two completions
    for entry, *calls in zip(made.log, *made.calls.values(), strict=True):
        known = [value for value in calls[2].scores if value is not None]
        assert entry["rewards/judged/mean"] == pytest.approx(fmean(known), abs=1e-6)
        total = [sum(value or 0.0 for value in row) for row in zip(*(call.scores for call in calls), strict=True)]
        assert entry["reward"] == pytest.approx(fmean(total), abs=1e-6)


def test_the_meta_of_a_row_holds_the_further_columns_only(trained):
    seen = trained("grpo", conversational=True).seen
    assert {tuple(sorted(meta)) for meta, _, _ in seen} == {("completion_ids", "judged")}
    assert {references for _, references, _ in seen} == {tuple(truth) for truth in TRUTHS}
    assert [group for _, _, group in seen] == ["0", "0", "2", "2"] * 2


def batch_of(responses, metas=None):
    count = len(responses)
    return Batch(
        ids=tuple(f"{i}#0" for i in range(count)), groups=tuple(str(i) for i in range(count)),
        messages=((Turn("user", "p"),),) * count, prompts=("p",) * count, contexts=(None,) * count,
        responses=tuple(responses), references=(("a cat",),) * count, languages=(("en",),) * count,
        meta=tuple(metas or ({},) * count),
    )  # fmt: skip


def talks(texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


PIECES = st.sampled_from(["<think>", "</think>", "\n", "a", "cat. ", "<think", "é", ""])
TEXTS = st.lists(st.lists(PIECES, max_size=6).map("".join), min_size=1, max_size=5)
IDS = st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=5)


@given(TEXTS)
@settings(deadline=None)  # the first example imports TRL
def test_think_format_reward_is_the_same_as_a_reward(texts):
    from trl.rewards import think_format_reward

    direct = think_format_reward(talks(texts))
    reward = from_trl(think_format_reward, messages=True)
    assert reward.name == "think_format_reward"
    assert reward.build()(batch_of(texts)) == direct
    back = to_trl(reward)
    assert back(prompts=[[{"role": "user", "content": "p"}]] * len(texts), completions=talks(texts)) == direct


def test_think_format_reward_by_hand():
    from trl.rewards import think_format_reward

    texts = ["<think>one\ntwo</think>three", "<think>one", "zero <think>one</think>", "<think><think></think>"]
    rows = [{"prompt": "p", "response": text} for text in texts]
    scored = rmbench.score(from_trl(think_format_reward, messages=True), rows)
    assert [row["score"] for row in scored] == [1.0, 0.0, 0.0, 0.0]


@given(IDS)
@settings(deadline=None)
def test_rewards_of_token_ids_are_the_same_as_rewards(ids):
    from trl.rewards import get_repetition_penalty_reward, get_soft_overlong_punishment

    batch = batch_of(["x"] * len(ids), [{"completion_ids": tokens} for tokens in ids])
    for function in (get_repetition_penalty_reward(2), get_soft_overlong_punishment(8, 4)):
        reward = from_trl(function, name="of-ids")
        assert reward.build()(batch) == function(completion_ids=ids)
        back = to_trl(reward)
        given = {"prompts": ["p"] * len(ids), "completions": ["x"] * len(ids), "completion_ids": ids}
        assert back(**given) == function(completion_ids=ids)


def awkward(*, scale: float = 1.0):
    """Vowels times `scale`: None without any, not a number for capitals."""

    def one(text):
        count = sum(c in "aeiou" for c in text)
        return math.nan if text.isupper() else scale * count if count else None

    return lambda batch: {"score": [one(text) for text in batch.responses], "part": [0.0] * len(batch)}


WRITTEN = st.text(alphabet="ab AE.\n猫é", max_size=12)
ROWS = st.lists(st.tuples(WRITTEN, WRITTEN, st.lists(WRITTEN, max_size=2), st.none() | WRITTEN), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("reward", "options"),
    [
        ("rouge-l", {}),
        ("chrf", {}),
        ("bleu", {}),
        ("rouge-1", {"against": "source"}),
        ("composite", {"weights": MIX}),
        (Reward(name="awkward", version=1, build=awkward), {"scale": 0.5}),
    ],
    ids=["rouge-l", "chrf", "bleu", "source", "composite", "awkward"],
)
@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_there_and_back_again(made, reward, options, rows):
    """from_trl(to_trl(reward)) gives what the reward gives, texts or messages."""
    prompts, responses, references, contexts = zip(*rows, strict=True)
    batch = Batch(
        ids=tuple(f"{i}#0" for i in range(len(rows))), groups=tuple(str(i) for i in range(len(rows))),
        messages=tuple((Turn("user", text),) for text in prompts), prompts=prompts, contexts=contexts,
        responses=responses, references=tuple(tuple(texts) for texts in references), languages=((),) * len(rows),
    )  # fmt: skip
    there = made(reward, options)
    columns = {"references": [list(texts) for texts in references], "contexts": list(contexts)}
    direct = there(prompts=list(prompts), completions=list(responses), **columns)
    for messages in (False, True):
        assert from_trl(there, name="again", messages=messages).build()(batch) == direct
    assert (
        to_trl(from_trl(there, name="again"))(prompts=list(prompts), completions=list(responses), **columns) == direct
    )
    if options != {"weights": MIX}:
        assert direct == expected(reward, options, batch)
    assert len(direct) == len(rows)


@pytest.fixture(scope="module")
def made():
    """Build each function once: hypothesis calls the test many times."""
    kept = {}

    def make(reward, options):
        return kept.setdefault(repr((reward, options)), to_trl(reward, options))

    return make


def expected(reward, options, batch):
    """What the reward's own scorer gives, with None for what is not finite."""
    from rmbench import builtin

    every = {each.name: each for each in builtin.rmbench_rewards()}
    scorer = (every[reward] if isinstance(reward, str) else reward).build(**options)
    output = scorer(batch)
    values = output["score"] if isinstance(output, dict) else output
    return [None if value is None or not math.isfinite(value) else float(value) for value in values]
