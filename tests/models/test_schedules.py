"""Learning rates of every schedule, step by step, against values worked out by hand; and the checks of the options."""

import json
import math
import subprocess
import sys

import pytest
import torch

from rmbench.models.options import SCHEDULES, Training
from rmbench.models.schedules import scheduler


def made(**options):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=options.pop("learning_rate", 1.0))
    return optimizer, scheduler(optimizer, Training(**options))


def rates(**options):
    optimizer, schedule = made(**options)
    found = []
    for _ in range(options["steps"]):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


COSINE = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"schedule": "constant", "steps": 3, "warmup": 0.0}, [1.0, 1.0, 1.0]),
        ({"schedule": "constant", "steps": 4, "warmup": 0.5}, [1 / 3, 2 / 3, 1.0, 1.0]),
        ({"schedule": "linear", "steps": 4, "warmup": 0.0}, [1.0, 0.75, 0.5, 0.25]),
        ({"schedule": "linear", "steps": 5, "warmup": 0.2}, [0.5, 1.0, 0.75, 0.5, 0.25]),
        ({"schedule": "cosine", "steps": 4, "warmup": 0.0}, COSINE),
        ({"schedule": "cosine", "steps": 6, "warmup": 1 / 3}, [1 / 3, 2 / 3, *COSINE]),
        ({"schedule": "step", "steps": 6, "warmup": 0.0}, [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]),
        ({"schedule": "step", "steps": 5, "warmup": 0.2, "decay": 0.5}, [0.5, 1.0, 1.0, 0.5, 0.5]),
        ({"schedule": "exponential", "steps": 4, "warmup": 0.0}, [1.0, 0.1**0.25, 0.1**0.5, 0.1**0.75]),
        ({"schedule": "exponential", "steps": 3, "warmup": 1 / 3, "decay": 0.25}, [0.5, 1.0, 0.5]),
        ({"schedule": "linear", "steps": 2, "warmup": 0.0, "learning_rate": 0.01}, [0.01, 0.005]),
    ],
)
def test_rates_by_hand(options, expected):
    assert rates(**options) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.99])
def test_no_step_has_the_rate_0_and_none_is_above_the_peak(schedule, warmup):
    found = rates(schedule=schedule, steps=23, warmup=warmup)
    assert all(0 < rate <= 1 + 1e-12 for rate in found)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_goes_on_from_its_state_as_json(schedule):
    whole = rates(schedule=schedule, steps=12, warmup=0.25)
    for cut in range(13):
        optimizer, first = made(schedule=schedule, steps=12, warmup=0.25)
        for _ in range(cut):
            optimizer.step()
            first.step()
        saved = json.loads(json.dumps([first.state_dict(), optimizer.param_groups[0]["lr"]]))
        optimizer, second = made(schedule=schedule, steps=12, warmup=0.25)
        second.load_state_dict(saved[0])
        optimizer.param_groups[0]["lr"] = saved[1]
        rest = []
        for _ in range(cut, 12):
            rest.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            second.step()
        assert rest == whole[cut:]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("steps", 0, "steps is 0, expected an integer of at least 1"),
        ("steps", 1.5, "steps is 1.5"),
        ("batch", True, "batch is True"),
        ("patience", -1, "patience is -1, expected an integer of at least 0"),
        ("evaluations", 0, "evaluations is 0"),
        ("seconds", 0, "seconds is 0, expected a finite number above 0"),
        ("learning_rate", 0.0, "learning_rate is 0.0, expected a finite number above 0"),
        ("learning_rate", math.nan, "learning_rate is nan"),
        ("weight_decay", -0.1, "weight_decay is -0.1, expected a finite number from 0"),
        ("clip", math.inf, "clip is inf"),
        ("schedule", "cosin", "schedule is 'cosin', expected one of: constant, linear, cosine, step, exponential"),
        ("decay", 1.5, "decay is 1.5, expected a finite number above 0 up to 1"),
        ("warmup", 1.0, "warmup is 1.0, expected a finite number from 0 below 1"),
        ("margin", "rating", "margin is 'rating', expected a finite number from 0"),
        ("rating_margin", -1, "rating_margin is -1"),
    ],
)
def test_a_wrong_option_is_named_with_its_value_and_what_was_expected(option, value, message):
    with pytest.raises(ValueError) as error:
        Training(**{option: value})
    assert message in str(error.value)


def test_the_options_import_neither_torch_nor_numpy():
    code = "import sys, rmbench.models.options, rmbench.models.trained; print({'torch', 'numpy', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr


def test_whole_numbers_stand_for_rates():
    assert Training(seconds=10, learning_rate=1, clip=0, margin=2).clip == 0
