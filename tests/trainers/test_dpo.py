"""DPO: its loss against TRL's own, its gradient against the paper's."""

import math
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from practice import SHORT, Recorded, check_resumed, gradients, known_rows, picky, rows, trained, weights
from spelling import Speller, bits, data, sample

from rmbench.api import Batch
from rmbench.builtin.trainers_more import TRAINERS
from rmbench.errors import InputError
from rmbench.judged import Judged, Pair
from rmbench.policy import Scored
from rmbench.trainers import dpo
from rmbench.trainers.dpo import pair_losses
from rmbench.trainers.pair_options import Dpo


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


def test_the_gradient_of_a_step_by_hand(tmp_path):
    """Pairs of the start's own responses: best against worst of the scored, ties and lonely rows left out."""
    options = Dpo(steps=1, group=3, clip=0.0, beta=0.4, **SHORT)
    reference = Recorded()
    agent, _ = trained(dpo, options, tmp_path, agent=Speller(), score=picky, start=lambda: reference)
    samples, responses, n = next(one for one in reference.drawn if one[2] == 3)
    every = [sample for sample in samples for _ in range(n)]
    scores = picky(every, [one.text for one in responses]).values
    pairs = []
    for first in range(0, len(every), n):
        known = [first + row for row in known_rows(scores[first : first + n])]
        best, worst = (pick(known, key=scores.__getitem__, default=None) for pick in (max, min))
        if known and scores[best] > scores[worst]:
            pairs.append((best, worst))
    assert 0 < len(pairs) < len(samples)
    fresh, start = Speller(), Speller()
    ahead = []
    for better, worse in pairs:
        logs = [
            (total(fresh, every[row], responses[row]), total(start, every[row], responses[row]))
            for row in (better, worse)
        ]
        ahead.append(logs[0][0] - logs[0][1].detach() - logs[1][0] + logs[1][1].detach())
    (-torch.nn.functional.logsigmoid(0.4 * torch.stack(ahead)).mean()).backward()
    assert torch.allclose(gradients(agent), gradients(fresh), atol=1e-6)
    row = rows(tmp_path)[0]
    assert (row["pairs"], row["unscored"]) == (len(pairs), len(every) - len(known_rows(scores)))
    assert row["loss"] == pytest.approx(math.log(2))  # the policy is the start still


def total(agent, sample, response):
    """The log-probability of one response."""
    seen = agent.forward([sample], [response])
    return torch.log_softmax(seen.logits, -1).gather(-1, seen.ids[..., None])[seen.mask].sum()


@pytest.mark.parametrize("options", [{}, {"draw": "policy", "loss": "ipo"}, {"label_smoothing": 0.1}])
def test_the_reward_rises(tmp_path, options):
    trained(dpo, Dpo(steps=15, **(SHORT | {"evaluation_prompts": 8}), **options), tmp_path)
    curve, log = rows(tmp_path, "curve.jsonl"), rows(tmp_path)
    assert curve[-1]["reward"] > curve[0]["reward"] + 0.2
    accuracies = [row["accuracy"] for row in log if row["pairs"]]
    assert sum(accuracies[-4:]) / 4 > 0.75


def preferences():
    """Pairs of the task: for each prompt a text of a's is better than one of b's; one prompt is empty."""
    samples = [sample(at, prompt) for at, prompt in enumerate(["ab", "cd", "", "ef"])]
    groups = tuple(one.id for one in samples for _ in range(2))
    texts = ("aa", "bb", "a", "b", "aa", "b", "aaa", "bbb")
    pairs = tuple(Pair(2 * at, 2 * at + 1) for at in range(4))
    column = ((),) * len(texts)
    batch = Batch(groups, groups, column, texts, (None,) * len(texts), texts, column, column)
    part = Judged(tuple(samples), batch, pairs, (), ())
    return replace(data([]), train=part, dev=part)


def test_pairs_of_the_task_need_no_reward(tmp_path):
    def never(samples, texts):
        raise AssertionError

    options = Dpo(steps=10, pairs="task", **SHORT)
    agent, _ = trained(dpo, options, tmp_path, data=preferences(), score=never, judge=lambda s, t: {})
    log = rows(tmp_path)
    assert [row["pairs"] for row in log] == [6] * 10  # three pairs, of which each step takes two epochs
    assert log[0]["accuracy"] == 0.0
    assert log[-1]["accuracy"] == 1.0
    assert log[-1]["margin"] > log[1]["margin"]
    assert (log[0]["reward"], log[0]["unscored"]) == (None, 0)
    better, worse = (total(agent, sample(0, "ab"), agent.encode(text)).item() for text in ("aa", "bb"))
    start = Speller()
    assert (
        better - worse
        > (total(start, sample(0, "ab"), start.encode("aa")) - total(start, sample(0, "ab"), start.encode("bb"))).item()
    )


def test_a_task_without_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match="task 'letters', train: has no pairs of responses to a prompt"):
        trained(dpo, Dpo(steps=1, pairs="task", **SHORT), tmp_path)


def test_a_constant_reward_gives_no_pairs(tmp_path):
    agent, ended = trained(dpo, Dpo(steps=2, **SHORT), tmp_path, score=lambda s, t: Scored((0.5,) * len(t)))
    assert bits(agent) == bits(Speller())
    assert [(row["pairs"], row["loss"]) for row in rows(tmp_path)] == [(0, None)] * 2
    assert any("same value" in note for note in ended.notes)


@pytest.mark.parametrize("options", [{"draw": "policy"}, {"pairs": "task"}])
def test_it_goes_on_where_it_was_interrupted(tmp_path, options):
    check_resumed(dpo, Dpo(steps=5, **SHORT, **options), tmp_path, data=preferences() if options.get("pairs") else None)


def test_less_memory_gives_the_same(tmp_path):
    options = Dpo(steps=2, **SHORT)
    whole, _ = trained(dpo, options, tmp_path / "a")
    parts, _ = trained(dpo, options, tmp_path / "b", agent=Speller(most=4))
    assert torch.allclose(weights(whole), weights(parts), atol=1e-4)
    assert rows(tmp_path / "b")[-1]["margin"] == pytest.approx(rows(tmp_path / "a")[-1]["margin"], abs=1e-4)


def test_it_needs_a_reward_or_pairs():
    (trainer,) = (one for one in TRAINERS if one.name == "dpo")
    assert trainer.needs(Dpo()) == {"reward"}
    assert trainer.needs(Dpo(pairs="task")) == {"pairs"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pairs": "mine"}, "pairs is 'mine', expected one of: reward, task"),
        ({"group": 1}, "group is 1, expected an integer of at least 2"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"draw": "both"}, "draw is 'both', expected one of: start, policy"),
        ({"beta": 0.0}, "beta is 0.0, expected a finite number above 0"),
        ({"loss": "hinge"}, "loss is 'hinge', expected one of: sigmoid, ipo"),
        ({"label_smoothing": 0.5}, "label_smoothing is 0.5"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "it goes with loss 'sigmoid' only"),
        ({"pairs": "task", "draw": "policy"}, "the task's own pairs are not drawn"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
    ],
)
def test_wrong_options_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Dpo(**fields)
