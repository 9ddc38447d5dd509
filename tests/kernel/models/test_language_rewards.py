"""The rewards of language models and of a label's probability: folders, by their records."""

import json
import re
import types

import causal_models
import folders
import pytest
import tiny
import torch

import rmbench
from rmbench import Batch, Runtime, Turn, scoring
from rmbench.builtin import hf as classifier
from rmbench.builtin import hf_dpo, hf_likelihood
from rmbench.errors import InputError
from rmbench.testing import check_reward

pytestmark = pytest.mark.filterwarnings("ignore::rmbench.kernel.models.envelope.EnvelopeWarning")
HF, DPO, LIKELIHOOD = classifier.REWARDS[0], hf_dpo.REWARDS[0], hf_likelihood.REWARDS[0]
ROWS = [("Is it good?", "Yes, it is."), ("Is it good?", "No."), ("Say a word.", "word"), ("", "The cat sat.")]


def batch_of(rows=ROWS):
    prompts = tuple(prompt for prompt, _ in rows)
    count = len(rows)
    return Batch(
        ids=tuple(map(str, range(count))), groups=tuple(map(str, range(count))),
        messages=tuple((Turn("user", prompt),) for prompt in prompts), prompts=prompts, contexts=(None,) * count,
        responses=tuple(response for _, response in rows), references=((),) * count, languages=(("en",),) * count,
        meta=(types.MappingProxyType({}),) * count,
    )  # fmt: skip


def scored(reward, **options):
    given = {name: str(value) if name in ("path", "reference") else value for name, value in options.items()}
    return scoring.score(scoring.build(reward, given, Runtime()), batch_of())


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return causal_models.save(tmp_path_factory.mktemp("policy"), "llama")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference")
    made, tokenizer = causal_models.pair("llama")
    with torch.no_grad():
        for weights in made.parameters():
            weights.mul_(0.9)
    made.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def by_hand(folder, prompt, response, *, ended):
    """Sum of log-probabilities and number of tokens by transformers alone, in the plain form."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = AutoModelForCausalLM.from_pretrained(folder).eval()
    before = tokenizer(f"{prompt}\n" if prompt else "")["input_ids"]
    ids = [*before, *tokenizer(response, add_special_tokens=False)["input_ids"], *[tokenizer.eos_token_id] * ended]
    return causal_models.own(made, ids, len(before)), len(ids) - len(before)


def test_likelihood_is_the_mean_or_the_sum_of_log_probabilities(policy):
    found = scored(LIKELIHOOD, path=policy)
    expected = [by_hand(policy, *row, ended=False) for row in ROWS]
    assert found.values == pytest.approx([total / tokens for total, tokens in expected], rel=1e-5)
    assert found.parts["sum"] == pytest.approx([total for total, _ in expected], rel=1e-5)
    assert found.parts["tokens"] == [tokens for _, tokens in expected]
    assert scored(LIKELIHOOD, path=policy, normalise="none").values == found.parts["sum"]


def test_likelihood_of_the_text_alone_leaves_the_prompt_out(policy):
    found = scored(LIKELIHOOD, path=policy, alone=True)
    expected = [by_hand(policy, "", response, ended=False) for _, response in ROWS]
    assert found.parts["sum"] == pytest.approx([total for total, _ in expected], rel=1e-5)


def test_dpo_is_beta_times_the_log_ratio(policy, reference):
    found = scored(DPO, path=policy, reference=reference)
    expected = [
        (by_hand(policy, *row, ended=True), by_hand(reference, *row, ended=True)[0]) for row in ROWS
    ]  # fmt: skip
    ratios = [own - other for (own, _), other in expected]
    assert found.values == pytest.approx([0.1 * ratio for ratio in ratios], rel=1e-4)
    assert found.parts["policy"] == pytest.approx([own for (own, _), _ in expected], rel=1e-5)
    assert found.parts["reference"] == pytest.approx([other for _, other in expected], rel=1e-5)
    assert found.parts["tokens"] == [tokens for (_, tokens), _ in expected]
    normalised = scored(DPO, path=policy, reference=reference, beta=0.5, length_normalised=True)
    assert normalised.values == pytest.approx(
        [0.5 * ratio / tokens for ratio, ((_, tokens), _) in zip(ratios, expected, strict=True)], rel=1e-4
    )
    assert scored(DPO, path=policy, reference=policy).values == [0.0] * len(ROWS)


def test_both_models_of_dpo_see_the_policys_template_and_the_shorter_limit(policy, reference, tmp_path):
    import shutil

    shutil.copytree(policy, tmp_path / "policy")
    (tmp_path / "policy" / "chat_template.jinja").write_text(folders.LLAMA)
    folders.edit(tmp_path / "policy" / "tokenizer_config.json", model_max_length=12)
    given = {"path": str(tmp_path / "policy"), "reference": str(reference)}
    scorer = scoring.build(DPO, given, Runtime())
    assert scorer.given["chat_template"] == folders.LLAMA
    assert scorer.given["max_length"] == 12
    (form,) = DPO.facts(path=tmp_path / "policy", reference=reference)
    assert form.startswith("form:chat#")


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_they_conform(name, tmp_path):
    folder = causal_models.save(tmp_path / "one", name)
    other = causal_models.save(tmp_path / "two", name, tie_word_embeddings=False)
    assert check_reward(LIKELIHOOD, {"path": str(folder)}, tolerance=1e-4) == []
    assert check_reward(DPO, {"path": str(folder), "reference": str(other)}, tolerance=1e-4) == []


def test_measures_tell_of_both_models(policy, reference):
    scorer = scoring.build(DPO, {"path": str(policy), "reference": str(reference)}, Runtime())
    assert scorer.measures() == {}
    scorer(batch_of())
    assert scorer.measures()["tokens"] == 2 * sum(len(one.ids) for one in scorer.made[0].encode(*_texts()))
    assert scorer.measures()["tokens-per-second"] > 0


def _texts():
    return [prompt for prompt, _ in ROWS], [response for _, response in ROWS]


def test_empty_responses_have_a_reason(policy, reference):
    for reward, more in ((LIKELIHOOD, {}), (DPO, {"reference": str(reference)})):
        scorer = scoring.build(reward, {"path": str(policy), **more}, Runtime())
        found = scoring.score(scorer, batch_of([("p", ""), ("p", "r")]))
        assert found.values[0] is None
        assert found.reasons[0] == "the response has no token"
        assert found.values[1] is not None


@pytest.mark.parametrize(
    ("reward", "options", "words"),
    [
        (LIKELIHOOD, {"normalise": "bits"}, "normalise is 'bits'"),
        (LIKELIHOOD, {"truncation": "middle"}, "truncation is 'middle'"),
        (LIKELIHOOD, {"max_length": 10**6}, "the model takes 160 tokens"),
        (LIKELIHOOD, {"alone": True, "system": "Be kind."}, "give one or the other"),
        (LIKELIHOOD, {"alone": 1}, "alone is 1"),
        (DPO, {"beta": 0.0}, "beta is 0.0, expected a number above 0"),
        (DPO, {"beta": float("nan")}, "beta is nan"),
        (DPO, {"beta": True}, "beta is True"),
        (DPO, {"length_normalised": "yes"}, "length_normalised is 'yes'"),
        (DPO, {"truncation": "middle"}, "truncation is 'middle'"),
        (HF, {"output": "odds"}, "output is 'odds', expected one of: logit, probability"),
    ],
)
def test_wrong_options(policy, reward, options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        reward.build(path=policy, **({"reference": policy} if reward is DPO else {}), **options)


def test_a_classifier_is_no_language_model_and_the_other_way_round(policy, tmp_path):
    judge = folders.save(tmp_path, "llama", folders.bpe())
    with pytest.raises(InputError, match="LlamaForSequenceClassification: it has no language-model head") as refused:
        LIKELIHOOD.build(path=judge)
    assert "hf takes it as it is" in str(refused.value)
    with pytest.raises(InputError, match="no language-model head"):
        DPO.build(path=policy, reference=judge)
    with pytest.raises(InputError, match="LlamaForCausalLM: it has no classification head") as refused:
        HF.build(path=policy)
    assert "hf-likelihood and hf-dpo take it" in str(refused.value)


@pytest.fixture
def broken(policy, tmp_path):
    import shutil

    return shutil.copytree(policy, tmp_path / "broken")


def test_a_folder_without_a_tokenizer_is_refused_before_it_is_loaded(broken):
    for file in broken.glob("tok*"):
        file.unlink()
    with pytest.raises(InputError, match="has no tokenizer"):
        LIKELIHOOD.build(path=broken)


def test_weights_that_are_no_numbers_are_refused(broken):
    tensors = folders.weights(broken)
    tensors["lm_head.weight"][3, 3] = torch.nan
    folders.save_weights(broken, tensors)
    with pytest.raises(InputError, match=r"the weights lm_head\.weight hold NaN or infinity"):
        LIKELIHOOD.build(path=broken)(batch_of())


def test_a_vocabulary_that_is_not_the_models_is_refused(tmp_path):
    made, tokenizer = causal_models.pair("llama", vocab_size=50)
    made.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="the model embeds 50"):
        LIKELIHOOD.build(path=tmp_path)(batch_of())


def test_a_reference_with_another_vocabulary_is_refused_before_anything_is_loaded(policy, tmp_path):
    other = causal_models.save(tmp_path, "gpt2")
    with pytest.raises(InputError, match="the tokenizers of the policy and of its reference differ: 'Hello world'"):
        DPO.build(path=policy, reference=other)


def test_a_reference_that_differs_in_some_text_only_is_found_when_it_is_scored(policy, broken):
    file = broken / "tokenizer.json"
    content = json.loads(file.read_text())
    content["post_processor"] = None  # no BOS
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="differ: the text of row 0"):
        DPO.build(path=policy, reference=broken)(batch_of())


def test_build_reads_no_weights(policy, reference, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "__init__", None)  # any model made would fail
    assert callable(LIKELIHOOD.build(path=policy))
    assert callable(DPO.build(path=policy, reference=reference))


def test_a_labels_probability_is_the_softmax_or_the_sigmoid(tmp_path):
    cases = {
        "softmax": {"num_labels": 3},
        "several": {"num_labels": 3, "problem_type": "multi_label_classification"},
        "one": {},
    }
    for name, changes in cases.items():
        folder = folders.save(tmp_path / name, "llama", folders.bpe(), **changes)
        labels = [{"label": index} for index in range(3)] if changes else [{}]
        logits = torch.tensor([scored(HF, path=folder, **label).values for label in labels], dtype=torch.float64)
        found = [scored(HF, path=folder, output="probability", **label).values for label in labels]
        expected = logits.softmax(dim=0) if name == "softmax" else logits.sigmoid()
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected, rtol=1e-5, atol=1e-9)


def test_an_overflow_is_no_probability():
    from rmbench.kernel.models.forward import probabilities

    made = tiny.model("llama").config
    found = probabilities(torch.tensor([[torch.inf], [torch.nan], [0.0]]), made)
    assert found[:2].isnan().all()
    assert found[2] == 0.5


def test_signatures_name_both_folders_and_the_default_output_is_not_in_hfs(policy, reference, tmp_path):
    from rmbench.options import changed

    judge = folders.save(tmp_path, "llama", folders.bpe())
    assert changed(HF.build, {"path": str(judge), "output": "logit"}) == {"path": str(judge)}
    assert set(changed(DPO.build, {"path": str(policy), "reference": str(reference), "beta": 0.1})) == {
        "path",
        "reference",
    }
    assert list(LIKELIHOOD.facts(path=policy, alone=True)) == ["form:alone"]
    assert list(LIKELIHOOD.facts(path=policy)) == ["form:plain"]
    row = [{"id": "a", "prompt": "p", "response": "r"}]
    assert rmbench.score(LIKELIHOOD, row, {"path": str(policy)})[0]["score"] < 0
