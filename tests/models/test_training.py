"""Training: what a step does, which weights are kept, when it stops, what it refuses; the same bits for a seed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bag import bits, made
from judgements import preferred, rated, ratings, words

from rmbench.api import Runtime
from rmbench.errors import InputError
from rmbench.judged import Fitting, Pair
from rmbench.models.balance import accuracy
from rmbench.models.options import Training
from rmbench.models.training import order, reproducible, train

WORDS, RATINGS = words(), ratings()


class Scripted:
    """One weight w: a train text scores w times its rating, dev texts score as the script says, by evaluation."""

    def __init__(self, judged, script=(), *, start=0.0):
        self.module = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(self.module.weight, start)
        self.x = torch.tensor([[float(len(text))] for text in judged.train.batch.responses])
        self.script, self.asked, self.seen, self.modes = list(script), [], [], []

    def scores(self, split, rows):
        self.asked.append((split, list(rows)))
        self.modes.append((split, self.module.training, torch.is_grad_enabled()))
        if split == "dev" and self.script:
            self.seen.append(self.module.weight.item())
            return torch.tensor(self.script.pop(0))
        return self.module(self.x[list(rows)]).squeeze(-1)


def fit(tmp_path, judgements, loss, **options):
    fitting = Fitting(tmp_path)
    learner = made(judgements, fitting)
    return learner, train(learner, judgements, loss, Training(**options), fitting)


@pytest.mark.parametrize(
    ("judgements", "loss"),
    [(WORDS, "hinge"), (WORDS, "bradley-terry"), (RATINGS, "squared"), (RATINGS, "cross-entropy"), (RATINGS, "hinge")],
)
def test_every_loss_learns_and_a_seed_gives_the_same_bits(tmp_path, judgements, loss):
    options = {"steps": 60, "learning_rate": 0.02, "evaluations": 6}
    learner, trained = fit(tmp_path / "a", judgements, loss, **options)
    again, same = fit(tmp_path / "b", judgements, loss, **options)
    assert trained.accuracy >= 0.8
    assert bits(learner.module) == bits(again.module)
    assert trained == same
    assert trained.curve[0]["loss"] > trained.curve[-1]["loss"]
    assert not learner.module.training
    fitting = Fitting(tmp_path / "c", runtime=Runtime(seed=2))
    other = made(judgements, fitting)
    train(other, judgements, loss, Training(**options), fitting)
    assert bits(other.module) != bits(learner.module)


def test_one_step_by_hand(tmp_path):
    judged = preferred([("long", "a")], [("abc", "x")])
    learner = Scripted(judged, start=0.5)
    training = Training(steps=1, learning_rate=0.1, weight_decay=0.2, warmup=0.0, schedule="constant", clip=0.0)
    trained = train(learner, judged, "bradley-terry", training, Fitting(tmp_path))
    # scores 2 and 0.5, a loss of log(1 + e^-1.5); AdamW: w (1 - 0.1 * 0.2) - 0.1 * sign of the gradient, which is below 0
    assert trained.curve[0]["loss"] == pytest.approx(math.log1p(math.exp(-1.5)), rel=1e-6)
    assert learner.module.weight.item() == pytest.approx(0.5 * 0.98 + 0.1, rel=1e-6)
    assert learner.asked[0] == ("train", [0, 1])
    assert trained.curve[0] | {"loss": 0, "dev_loss": 0} == {
        "step": 1,
        "loss": 0,
        "lr": 0.1,
        "accuracy": 1.0,
        "dev_loss": 0,
    }


def test_it_learns_in_train_mode_with_gradients_and_evaluates_without(tmp_path):
    learner = Scripted(preferred([("long", "a")], [("abc", "x")]))
    train(learner, preferred([("long", "a")], [("abc", "x")]), "hinge", Training(steps=2), Fitting(tmp_path))
    assert set(learner.modes) == {("train", True, True), ("dev", False, False)}


@pytest.mark.parametrize(("loss", "examples"), [("hinge", 10), ("squared", 20)])
def test_an_epoch_sees_each_example_once_in_an_order_of_its_own(tmp_path, loss, examples):
    judged = rated([[("a" * n, 1.0), ("b" * (n + 2), 2.0)] for n in range(1, 11)])
    learner = Scripted(judged)
    train(learner, judged, loss, Training(steps=15, batch=4), Fitting(tmp_path))
    steps = -(-examples // 4)
    batches = [rows for split, rows in learner.asked if split == "train"][: 2 * steps]
    if loss == "hinge":
        assert all([worse + 1 for worse in rows[len(rows) // 2 :]] == rows[: len(rows) // 2] for rows in batches)
        batches = [[row // 2 for row in rows[: len(rows) // 2]] for rows in batches]
    epochs = [[row for rows in part for row in rows] for part in (batches[:steps], batches[steps:])]
    assert all(sorted(epoch) == list(range(examples)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert epochs == [order(examples, 1, 0), order(examples, 1, 1)]
    assert {len(rows) for rows in batches} == ({4, 2} if loss == "hinge" else {4})


def test_the_order_is_a_function_of_seed_and_epoch():
    assert order(5, 1, 0) == order(5, 1, 0) == [2, 1, 0, 4, 3]
    assert len({tuple(order(20, seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.parametrize("clip", [0.5, 0.0])
def test_gradients_are_clipped_unless_clip_is_0(tmp_path, clip):
    learner, norms = made(WORDS, Fitting(tmp_path)), []

    def look():
        grads = [weight.grad for weight in learner.module.parameters() if weight.grad is not None]
        norms.append(math.sqrt(sum(float((grad**2).sum()) for grad in grads)))
        return False

    train(learner, WORDS, "hinge", Training(steps=10, clip=clip), Fitting(tmp_path, stop=look))
    assert (max(norms) <= 0.5 * (1 + 1e-5)) == (clip > 0)


def scripted(accuracies):
    """Dev scores of two pairs with these accuracies, a tie in one pair for 0.25 and 0.75; the loss is the same."""
    table = {0.0: [0, 1, 0, 1], 0.25: [0, 0, 0, 1], 0.5: [1, 0, 0, 1], 0.75: [1, 0, 0, 0], 1.0: [1, 0, 1, 0]}
    return [[float(score) for score in table[accuracy]] for accuracy in accuracies]


TWO = preferred([("long", "a")], [("p", "q"), ("r", "s")])


@pytest.mark.parametrize(
    ("accuracies", "patience", "stopped", "steps", "best"),
    [
        ([0.0, 0.5, 0.75, 0.5, 0.25, 0.25, 1.0], 3, "patience", 6, 3),
        ([0.0, 0.5, 0.75, 0.5, 0.25, 1.0], 3, "steps", 6, 6),
        ([1.0, 0.5, 0.75, 0.5, 0.25, 0.0], 0, "steps", 6, 1),
        ([0.5, 0.5, 0.5, 0.75, 0.0, 0.0], 2, "patience", 3, 1),
    ],
)
def test_the_best_weights_are_kept_and_patience_ends(tmp_path, accuracies, patience, stopped, steps, best):
    learner = Scripted(TWO, scripted(accuracies))
    count = len(accuracies)
    options = Training(steps=count, evaluations=count, patience=patience, learning_rate=0.1)
    trained = train(learner, TWO, "hinge", options, Fitting(tmp_path))
    assert (trained.stopped, trained.steps, trained.best_step) == (stopped, steps, best)
    assert [row["accuracy"] for row in trained.curve] == accuracies[:steps]
    assert trained.accuracy == accuracies[best - 1]
    assert learner.module.weight.item() == learner.seen[best - 1]
    assert len(set(learner.seen)) == steps


def test_of_equal_accuracies_the_lower_loss_on_dev_is_better(tmp_path):
    learner = Scripted(TWO, [[1.0, 0.0, 1.0, 0.0], [3.0, 0.0, 3.0, 0.0], [2.0, 0.0, 2.0, 0.0]])
    trained = train(learner, TWO, "bradley-terry", Training(steps=3, evaluations=3), Fitting(tmp_path))
    assert trained.best_step == 2
    assert trained.curve[1]["dev_loss"] == pytest.approx(math.log1p(math.exp(-3)))


def test_without_dev_pairs_the_loss_on_dev_decides_and_without_dev_the_last_step(tmp_path):
    judged = rated([[("a", 1.0), ("bb", 2.0)]], [[("c", 2.0)], [("d", 2.0)]])
    learner = Scripted(judged, [[3.0, 3.0], [1.0, 1.0], [2.0, 2.0]])
    trained = train(learner, judged, "squared", Training(steps=3, evaluations=3), Fitting(tmp_path / "a"))
    assert (trained.accuracy, trained.best_step) == (None, 2)
    assert [row["dev_loss"] for row in trained.curve] == [4.0, 0.0, 1.0]  # the target is (2 - 1.5) / 0.5
    nothing = rated([[("a", 1.0), ("bb", 2.0)]])
    learner = Scripted(nothing)
    trained = train(learner, nothing, "squared", Training(steps=3, evaluations=3), Fitting(tmp_path / "b"))
    assert (trained.accuracy, trained.best_step, trained.curve[-1]["dev_loss"]) == (None, 3, None)


def test_squared_learns_standardised_ratings_and_says_how_to_go_back(tmp_path):
    learner, trained = fit(tmp_path, RATINGS, "squared", steps=200, learning_rate=0.02, batch=16)
    targets = np.array(RATINGS.train.targets)
    assert (trained.shift, trained.scale) == pytest.approx((targets.mean(), targets.std()))
    with torch.no_grad():
        scores = learner.scores("train", range(len(targets))).numpy()
    assert np.abs(trained.shift + trained.scale * scores - targets).mean() < 0.4
    assert trained.record()["shift"] == trained.shift
    assert fit(tmp_path / "b", WORDS, "hinge", steps=1)[1].scale == 1.0


def test_ratings_that_are_all_the_same_are_learnt_too(tmp_path):
    judged = rated([[("a b", 3.0)], [("c", 3.0)]])
    _, trained = fit(tmp_path, judged, "squared", steps=3)
    assert (trained.shift, trained.scale) == (3.0, 1.0)


@pytest.mark.parametrize(
    ("loss", "options", "expected"),
    [
        ("hinge", {}, 1.0),
        ("hinge", {"margin": 0.0}, 0.0),
        ("hinge", {"margin": 0.5, "rating_margin": 2.0}, 0.5 + 2 * 3),
        ("bradley-terry", {}, math.log(2)),
        ("bradley-terry", {"rating_margin": 1.0}, math.log1p(math.exp(3))),
    ],
)
def test_margins_come_from_the_options_and_from_the_ratings(tmp_path, loss, options, expected):
    judged = rated([[("a", 1.0), ("bb", 4.0)]])  # with w = 0 all scores are 0
    trained = train(Scripted(judged), judged, loss, Training(steps=1, **options), Fitting(tmp_path))
    assert trained.curve[0]["loss"] == pytest.approx(expected, rel=1e-6)


def test_only_rows_with_a_label_are_examples(tmp_path):
    judged = rated([[("a", 1.0), ("bb", None)], [("ccc", 4.0)]], good=3.0)
    for loss in ("squared", "cross-entropy"):
        learner = Scripted(judged)
        train(learner, judged, loss, Training(steps=2), Fitting(tmp_path / loss))
        assert {row for _, rows in learner.asked for row in rows} == {0, 2}


def test_what_does_not_require_a_gradient_stays(tmp_path):
    learner = made(WORDS, Fitting(tmp_path))
    frozen = learner.module[1]
    before = frozen.weight.clone()
    frozen.requires_grad_(requires_grad=False)
    train(learner, WORDS, "hinge", Training(steps=5), Fitting(tmp_path))
    assert torch.equal(frozen.weight, before)


def test_biases_and_norms_are_not_drawn_to_0(tmp_path):
    judged = preferred([("a", "a")])  # the same text twice: no gradient but the decay
    learner = Scripted(judged, start=1.0)
    learner.module = torch.nn.Sequential(learner.module, torch.nn.Linear(1, 1))
    torch.nn.init.constant_(learner.module[1].bias, 1.0)
    options = Training(steps=1, learning_rate=0.1, weight_decay=0.5, warmup=0.0)
    train(learner, judged, "hinge", options, Fitting(tmp_path))
    assert learner.module[0].weight.item() == pytest.approx(0.95)
    assert learner.module[1].bias.item() == 1.0


def test_the_state_of_torch_is_left_as_it_was(tmp_path):
    torch.manual_seed(7)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fit(tmp_path, WORDS, "hinge", steps=2)
    with reproducible(Runtime()):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ZeroDivisionError), reproducible(Runtime()):
        torch.rand(1 // 0)
    after = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_it_tells_step_steps_loss_and_accuracy(tmp_path):
    told = []
    train(
        made(WORDS, Fitting(tmp_path)),
        WORDS,
        "hinge",
        Training(steps=8, evaluations=4),
        Fitting(tmp_path, tell=told.append),
    )
    assert [row["step"] for row in told if row["step"] % 2 == 0] == [2, 4, 6, 8]
    assert all(set(row) == {"step", "steps", "loss", "accuracy", "curve"} and row["steps"] == 8 for row in told)
    assert all(math.isfinite(row["loss"]) for row in told)


def test_a_budget_of_seconds_ends_it_and_is_said(tmp_path, monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr("rmbench.models.training.time.monotonic", lambda: float(next(ticks)))
    _, trained = fit(tmp_path, WORDS, "hinge", steps=500, seconds=25.0)
    assert trained.stopped == "seconds"
    assert 1 < trained.steps < 25
    assert trained.curve[-1]["step"] == trained.steps
    assert trained.record()["reproducible"] is False
    assert fit(tmp_path / "b", WORDS, "hinge", steps=2)[1].record()["reproducible"] is True


def broken(judged, what, at):
    """A learner whose loss, gradient or dev score is not finite at a step."""
    learner = Scripted(judged)
    whole, count = learner.scores, iter(range(1, 10**6))

    def scores(split, rows):
        found = whole(split, rows)
        if split == "dev":
            return found * (math.inf if what == "score of a dev text" else 1.0)
        if next(count) < at:
            return found
        if what == "loss":
            return found * math.nan
        root = torch.sqrt(torch.zeros(len(rows)) * learner.module.weight.sum())  # 0, with an infinite gradient
        return found + (root if what == "norm of the gradient" else 0.0)

    learner.scores = scores
    return learner


@pytest.mark.parametrize("what", ["loss", "norm of the gradient", "score of a dev text"])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_what_is_not_finite_is_an_error_with_its_step(tmp_path, what, clip):
    judged = preferred([("long", "a")], [("abc", "x")])
    fitting = Fitting(tmp_path, {"reward_model": "mlp"})
    with pytest.raises(InputError) as error:
        train(broken(judged, what, 3), judged, "bradley-terry", Training(steps=9, evaluations=3, clip=clip), fitting)
    assert error.value.what.startswith(f"the {what} is ")
    assert error.value.what.endswith("at step 3")
    assert error.value.where == "mlp"
    assert "lower learning_rate (now 0.001)" in error.value.help


@pytest.mark.parametrize(
    ("judged", "loss", "what"),
    [
        (rated([[("a", 1.0), ("b", 1.0)]]), "hinge", "no pairs"),
        (preferred([("a", "b")]), "squared", "no ratings"),
        (rated([[("a", 1.0), ("b", 2.0)]]), "cross-entropy", "no good"),
    ],
)
def test_data_without_anything_for_the_loss_are_an_error(tmp_path, judged, loss, what):
    with pytest.raises(InputError, match=f"has nothing for the loss '{loss}': {what}") as error:
        train(Scripted(judged), judged, loss, Training(), Fitting(tmp_path))
    assert error.value.where == "task 'toy', train"
    assert list(tmp_path.iterdir()) == []


def test_scores_of_a_wrong_shape_are_refused(tmp_path):
    learner = Scripted(TWO)
    learner.scores = lambda split, rows: torch.zeros(len(rows), 1)
    with pytest.raises(ValueError, match=r"of shape \(2, 1\) for 2 rows, expected floating point of \(2,\)"):
        train(learner, TWO, "hinge", Training(), Fitting(tmp_path))


def test_dev_accuracy_counts_a_tie_one_half_and_rounds_to_12_digits():
    pairs = (Pair(0, 1), Pair(2, 3), Pair(1, 0))
    assert accuracy([1.0, 0.0, 0.3, 0.1 + 0.2], pairs) == 0.5
    assert accuracy([1.0, 0.0, 0.3, 0.1 + 0.2], pairs[1:2]) == 0.5
    assert accuracy([1.0, 1.0 - 1e-11, 0.0, 0.0], pairs[:1]) == 1.0
    assert accuracy([1.0], ()) is None


def test_dev_is_scored_where_it_is_asked_for_only(tmp_path):
    judged = rated([[("a", 1.0), ("bb", 2.0)]], [[("c", 1.0), ("d", 2.0), ("e", None)]])
    judged = replace(judged, dev=replace(judged.dev, pairs=judged.dev.pairs[:1]))
    learner = Scripted(judged, [[0.0, 1.0]])
    trained = train(learner, judged, "hinge", Training(steps=1), Fitting(tmp_path))
    assert learner.asked[-1] == ("dev", [0, 1])
    assert trained.accuracy == 1.0
