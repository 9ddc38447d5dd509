"""What all trainers of TRL are given: our optimizer and schedule, no network, no reports, a model left as it was."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from rmbench.kernel.models import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.optim import Optimizer

    from rmbench.api import Runtime

CONFIGURED = ("pad_token_id", "bos_token_id", "eos_token_id", "use_cache")
METHODS = ("forward", "generate", "model_tags")


def adamw(module: Any, options: Any) -> Optimizer:
    """Return AdamW over what is learnt of a module, as our own trainers have it: biases and norms do not decay."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [
        {"params": [one for one in weights if one.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [one for one in weights if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=options.learning_rate)


def shared(options: Any, runtime: Runtime, folder: str) -> dict[str, Any]:
    """Return the arguments of a TRL configuration that do not depend on the trainer."""
    return {
        "output_dir": folder, "use_cpu": runtime.device == "cpu", "seed": runtime.seed, "max_steps": options.steps,
        "bf16": False, "gradient_checkpointing": False, "learning_rate": options.learning_rate,
        "max_grad_norm": options.clip, "logging_steps": 1, "logging_nan_inf_filter": False, "report_to": "none",
        "disable_tqdm": True, "save_strategy": "no", "save_total_limit": 2, "push_to_hub": False,
        "dataloader_pin_memory": False,
    }  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Keep TRL and what it uses from the network, and their bars and remarks off stderr."""
    with ExitStack() as stack:
        stack.enter_context(load.offline())
        stack.enter_context(load.quiet())
        stack.enter_context(_no_bars())
        stack.enter_context(_no_remarks())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _no_bars() -> Iterator[None]:
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@contextmanager
def _no_remarks() -> Iterator[None]:
    """TRL says of every batch with an unscored row that there is one: they are counted in the log."""
    names = [logging.getLogger(name) for name in ("trl", "accelerate")]
    levels = [one.level for one in names]
    for one in names:
        one.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for one, level in zip(names, levels, strict=True):
            one.setLevel(level)


@contextmanager
def as_it_was(model: Any) -> Iterator[None]:
    """Take back what TRL changes of a model beside its weights: its methods, special tokens, dropout, name and tags."""
    config = model.config.get_text_config()
    generation = getattr(model, "generation_config", None)
    named = [(one, {name: getattr(one, name, None) for name in CONFIGURED}) for one in (config, generation) if one]
    dropouts = [(one, one.p) for one in model.modules() if isinstance(one, torch.nn.Dropout)]
    own = dict(vars(model))
    name, training = model.config._name_or_path, model.training  # noqa: SLF001 - TRL writes it
    try:
        yield
    finally:
        for new in set(vars(model)) - set(own):
            delattr(model, new)
        vars(model).update({method: own[method] for method in METHODS if method in own})
        for one, values in named:
            for key, value in values.items():
                setattr(one, key, value)
        for one, share in dropouts:
            one.p = share
        model.config._name_or_path = name  # noqa: SLF001 - as above
        model.train(training)
