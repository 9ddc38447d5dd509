"""Our training beside TRL's RewardTrainer, on a few generated pairs: the losses are the same."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from judgements import preferred, words

SCRIPT = Path(__file__).resolve().parent.parent.parent / "reports" / "reward-models" / "trl_pair.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("trl_pair", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["trl_pair"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["trl_pair"]


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """Hugging Face's packages read these when they are imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        yield


def tiny(script, **more):
    small = {"vocabulary": 300, "hidden": 16, "heads": 2, "max_length": 48, "steps": 6, "evaluations": 6, "batch": 4}
    return replace(script.OPTIONS, **{**small, "learning_rate": 1e-2, **more})


def test_losses_are_trls_over_two_epochs(script):
    found = script.compare(words(12, 4), tiny(script), rounds=0)
    assert len(found["losses"]["rmbench"]) == 6
    assert found["losses"]["rmbench"][0] != pytest.approx(found["losses"]["rmbench"][-1], abs=1e-3)  # it learns
    assert found["largest_difference"] < 1e-5
    assert found["rows_per_second"] is None


def test_pairs_that_are_too_long_are_left_out_of_both(script):
    long = " ".join(["word"] * 100)
    made = script.prepare(
        preferred([("p", "a", "b"), ("p", "a", long), ("q", long, "b")]), tiny(script, batch=1, steps=1)
    )
    assert len(made.judgements.train.pairs) == 1
    assert made.pairs == ((0, 1),)


def test_an_epoch_that_ends_within_a_batch_is_refused(script):
    with pytest.raises(ValueError, match="10 pairs in batches of 4"):
        script.prepare(words(10, 0), tiny(script))
