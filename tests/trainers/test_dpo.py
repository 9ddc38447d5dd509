"""DPO: its loss against TRL's own, its gradient against the paper's."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from rmbench.trainers.dpo import pair_losses


def trl_loss(logp, ref, mask, *, kind, beta, smoothing=0.0):
    """What TRL's own DPO trainer makes of log-probabilities (2 x pairs, T), better rows first: its method, our model."""
    from trl.trainer.dpo_trainer import DPOTrainer

    def outputs(log_probs):
        filler = torch.zeros_like(log_probs)
        return SimpleNamespace(log_probs=log_probs, entropy=filler, mean_logits=filler, is_top1=filler.bool())

    def gather(value):
        return value

    metrics = {mode: defaultdict(list) for mode in ("train", "eval")}
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu", gather_for_metrics=gather, gather=gather), aux_loss_enabled=False, ld_alpha=None,
        precompute_ref_logps=True, model=SimpleNamespace(training=True), f_divergence_type="reverse_kl", loss_types=[kind], loss_weights=[1.0],
        beta=beta, label_smoothing=smoothing, use_weighting=False, _metrics=metrics, _total_train_tokens=0, _tp_size=1,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
    )  # fmt: skip
    pairs = len(logp) // 2
    first = torch.zeros(len(logp), 1, dtype=torch.long)  # TRL's masks begin one place earlier: the prompt's last token
    completion = torch.cat([first, mask.long()], 1)
    inputs = {
        "input_ids": torch.zeros_like(completion), "attention_mask": torch.ones_like(completion),
        "completion_mask": completion, "ref_chosen_logps": (ref * mask).sum(1)[:pairs],
        "ref_rejected_logps": (ref * mask).sum(1)[pairs:],
    }  # fmt: skip

    def model(**_):
        return outputs(logp * mask)

    return DPOTrainer._compute_loss(trainer, model, inputs, False)


def drawn(seed, pairs=5, length=7):
    torch.manual_seed(seed)
    mask = torch.arange(length)[None, :] < torch.randint(1, length + 1, (2 * pairs,))[:, None]
    logp, ref = (-4 * torch.rand(2 * pairs, length, dtype=torch.float64) for _ in range(2))
    return logp.requires_grad_(), ref, mask


def ours(logp, ref, mask, *, kind, beta, smoothing=0.0):
    ratios = ((logp - ref) * mask).sum(1)
    if kind == "ipo":
        ratios = ratios / mask.sum(1)
    better, worse = ratios.chunk(2)
    return pair_losses(better, worse, beta=beta, kind=kind, smoothing=smoothing).mean()


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
@pytest.mark.parametrize("seed", range(5))
def test_loss_and_gradient_are_trls(kind, seed):
    logp, ref, mask = drawn(seed)
    beta = 0.05 * (seed + 1)
    theirs, own = trl_loss(logp, ref, mask, kind=kind, beta=beta), ours(logp, ref, mask, kind=kind, beta=beta)
    assert own.item() == pytest.approx(theirs.item(), rel=1e-10)
    (one,), (other,) = (torch.autograd.grad(loss, logp) for loss in (own, theirs))
    assert torch.allclose(one, other)


@pytest.mark.parametrize("seed", range(3))
def test_label_smoothing_is_trls(seed):
    """Of single pairs TRL's ``aot`` is the smoothed sigmoid loss: there is nothing to sort."""
    logp, ref, mask = drawn(seed, pairs=1)
    theirs = trl_loss(logp, ref, mask, kind="aot", beta=0.3, smoothing=0.2)
    assert ours(logp, ref, mask, kind="sigmoid", beta=0.3, smoothing=0.2).item() == pytest.approx(
        theirs.item(), rel=1e-10
    )


def test_losses_by_hand():
    better, worse = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    wanted = [-math.log(1 / (1 + math.exp(-0.5))), -math.log(1 / (1 + math.exp(1.0)))]
    assert pair_losses(better, worse, beta=0.5, kind="sigmoid").tolist() == pytest.approx(wanted)
    assert pair_losses(better, worse, beta=0.5, kind="ipo").tolist() == pytest.approx([0.0, 9.0])


def test_the_gradient_is_the_papers():
    """Rafailov et al. 2023, section 4: -beta sigmoid(-beta d) (grad log pi(better) - grad log pi(worse))."""
    better, worse = torch.tensor([0.7], requires_grad=True), torch.tensor([1.1], requires_grad=True)
    pair_losses(better, worse, beta=0.3, kind="sigmoid").sum().backward()
    wanted = 0.3 / (1 + math.exp(0.3 * (0.7 - 1.1)))
    assert better.grad.item() == pytest.approx(-wanted)
    assert worse.grad.item() == pytest.approx(wanted)
