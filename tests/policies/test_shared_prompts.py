"""Prompts that several responses share are computed once: same logits, same gradients."""

import pytest
import torch
from policy_data import SAMPLES, logprobs, made

from rmbench.api import Runtime
from rmbench.policies import hf, shared
from rmbench.policies.options import Hf
from rmbench.policy import Decoding

import causal_models  # isort: skip


def policy_of(name, path):
    if name == "tiny-llama":
        return made("llama")
    if name == "tiny-gpt2":
        return made("gpt2")
    return hf.load(causal_models.save(path, name), Hf(max_prompt=60, max_tokens=12), Runtime())


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gpt2", "llama", "qwen3"])
def test_shared_prompts_change_neither_logits_nor_gradients(name, tmp_path, monkeypatch):
    policy = policy_of(name, tmp_path)
    samples = [one for one in SAMPLES for _ in range(4)]
    drawn = policy.sample(SAMPLES, 4, Decoding(max_tokens=9, temperature=2.0), seed=4)
    written = [one for several in drawn for one in several]
    written[3] = policy.encode("")
    prompts = policy.reader.prompts(samples)
    assert shared.worth(policy.model, prompts, [one.ids for one in written])
    found = []
    for worth in (True, False):
        policy.module.zero_grad()
        with monkeypatch.context() as patched:
            patched.setattr(shared, "worth", lambda *_, worth=worth: worth)
            sums = logprobs(policy, samples, written)
        (-sums.sum()).backward()
        found.append((sums.detach(), [one.grad.clone() for one in policy.module.parameters()]))
    (ours, gradients), (plain, wanted) = found
    assert torch.allclose(ours, plain, atol=1e-4, rtol=0)
    for one, other in zip(gradients, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-3 * float(other.abs().max()) + 1e-6)


def test_prompts_are_shared_where_it_saves_and_the_model_is_known(tmp_path):
    llama = made()
    one, two = (1, 5, 6, 7), (1, 5, 6, 8)
    assert shared.worth(llama.model, [one, one, one], [(3, 2)] * 3)
    assert not shared.worth(llama.model, [one, two], [(3, 2)] * 2)
    assert not shared.worth(llama.model, [one, one], [(3,) * 40] * 2)
    assert not shared.worth(llama.model, [one, one], [(2,), (2,)])
    gemma = hf.load(causal_models.save(tmp_path, "gemma2"), Hf(max_prompt=60, max_tokens=12), Runtime())
    assert not shared.worth(gemma.model, [one, one, one], [(3, 2)] * 3)
