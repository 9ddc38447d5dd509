"""What ``rmbench bench`` measures of models: the public scorer on made-up texts, beside the plain loops.

The scorer is given texts. The loops are given the token ids that it made of them, which spares them tokenisation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmbench.kernel.measured import Side, Spread, clock_of, interleaved, peak_bytes, rate, times
from rmbench.kernel.measured_texts import Language, skewed
from rmbench.kernel.models import measured
from rmbench.kernel.models.measured import BERT_12M, LLAMA_1B, LLAMA_21M, TINY, VOCABULARY
from rmbench.kernel.models.sequence import sequence_scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rmbench.kernel.models.measured import Shape
    from rmbench.kernel.models.sequence import SequenceScorer

    Texts = tuple[list[str], list[str]]
    Loop = Callable[[Any, Sequence[np.ndarray]], Callable[[], np.ndarray]]

ROWS, ACCELERATOR_ROWS = 16, 512  # an accelerator is idle over fewer
MEDIAN, SIGMA = 85, 0.9  # tokens of a row: log-normal lengths
PROMPT = 20  # tokens of a prompt among them
SHARED, RESPONSES, SHORT = 200, 16, 40  # tokens of a shared prompt, its responses, the median of their tokens
REPEATED = 5  # one row in so many is an earlier row again
EIGHT, SINGLE, MANY = "batches of 8", "one by one", "batches of 64"
ALL = "every row computed"
LOOPS: dict[str, Loop] = {
    EIGHT: lambda model, rows: measured.padded_loop(model, rows, 8),
    SINGLE: measured.single_loop,
    MANY: lambda model, rows: measured.padded_loop(model, rows, 64),
}
ONCE = (MANY,)  # takes as long as all others together: in one round only


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how much is measured: threads, device, rows of a model, rounds; ``small``: tiny models."""

    threads: int = 1
    device: str = "cpu"
    rows: int = ROWS
    rounds: int = 3
    small: bool = False

    @property
    def dtype(self) -> str:
        """Return the default of the device."""
        return "float32" if self.device == "cpu" else "bfloat16"


@dataclass(frozen=True, slots=True)
class Case:
    """A model's scorer and its rows; ``loops`` are what it is measured beside, by name."""

    work: str
    shape: Shape
    scorer: SequenceScorer
    texts: Texts
    loops: Mapping[str, Callable[[], object]] = field(default_factory=dict)

    def ids(self) -> list[np.ndarray]:
        """Return the rows as token ids."""
        return [np.asarray(row.ids, dtype=np.int64) for row in self.scorer.encoder(*self.texts)]

    def run(self) -> np.ndarray:
        """Score all rows."""
        return self.scorer(*self.texts)


def tokenizer() -> Any:
    """Return a byte-pair tokenizer trained on made-up texts, as a transformers object."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    language = Language(seed=1)
    made.train_from_iterator([language.text(100) for _ in range(500)], trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def some_texts(vocabulary: Any, lengths: Sequence[int], prompt: int, *, shared: bool = False) -> Texts:
    """Return prompts of ``prompt`` tokens and responses of about so many tokens each; ``shared``: with one prompt."""
    language = Language(seed=2)
    a_word = len(vocabulary(language.text(2000))["input_ids"]) / 2000
    words = max(1, round(prompt / a_word))
    first = language.text(words)
    prompts = [first if shared else language.text(words) for _ in lengths]
    return prompts, [language.text(max(1, round(length / a_word))) for length in lengths]


def repeating(texts: Texts) -> Texts:
    """Return as many rows, of which one in five is the row before it again."""
    places = [row - 1 if row % REPEATED == REPEATED - 1 else row for row in range(len(texts[0]))]
    return [texts[0][place] for place in places], [texts[1][place] for place in places]


def seconds_of(case: Case, setting: Setting) -> dict[str, list[float]]:
    """Time the scorer and the loops of a case, round by round."""
    clock = clock_of(setting.threads, setting.device)
    case.scorer(case.texts[0][:2], case.texts[1][:2])  # what is loaded at first use is not measured
    case.scorer.timings = type(case.scorer.timings)()
    sides = {name: Side(run, 1) for name, run in {"ours": case.run, **case.loops}.items()}
    found = interleaved({name: side for name, side in sides.items() if name not in ONCE}, clock, setting.rounds)
    for name in set(sides) & set(ONCE):
        found |= interleaved({name: sides[name]}, clock, 1)
    return found


def record(case: Case, seconds: Mapping[str, Sequence[float]], best: float | None = None) -> dict[str, Any]:
    """Return what was measured of a case: tokens and FLOP/s, shares of time, ratios to the loops.

    ``best`` is the rate of the best matrix product; None where rows share or repeat tokens, so that the work that their
    lengths stand for is not done.
    """
    lengths = [len(row) for row in case.ids()]
    made, model = case.scorer.plan(*case.texts), case.scorer.tokens.model
    each, work = rate(seconds["ours"]), measured.flops(model, lengths)
    timings = case.scorer.timings
    parts = {"tokenisation": timings.encoding, "planning": timings.planning, "forward": timings.forward}
    return {
        "work": case.work, "model": case.shape.title, "parameters": measured.parameters(model),
        "dtype": str(model.dtype).removeprefix("torch."), "rows": len(lengths), "way": made.way,
        "median_tokens": float(np.median(lengths)), "longest": max(lengths),
        "tokens": sum(lengths), "computed": made.computed,
        "tokens_per_second": _scaled(each, sum(lengths)), "computed_per_second": _scaled(each, made.computed),
        "shares": {name: part / timings.total for name, part in {**parts, "rest": timings.rest}.items()},
        "flops_per_second": None if best is None else _scaled(each, work),
        "share_of_product": None if best is None else each.median * work / best,
        "ratios": {name: asdict(_ratio(seconds["ours"], seconds[name])) for name in case.loops},
        "difference": None, "rank_correlation": None,
    }  # fmt: skip


def _scaled(each: Spread, factor: float) -> dict[str, float]:
    return {name: value * factor for name, value in asdict(each).items()}


def _ratio(ours: Sequence[float], other: Sequence[float]) -> Spread:
    """Return how many times as fast ours is; a loop timed once stands beside every round."""
    return times(ours, [*other] * (len(ours) // len(other)))


class Models:
    """The steps, and what they share; each returns its records."""

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        self.setting = setting
        self.vocabulary = tokenizer()
        self.best: float | None = None
        self.peak = 0  # bytes that the process held once the decoder had scored; on a device, that it held there
        self.llama = TINY["llama"] if setting.small else LLAMA_21M if setting.device == "cpu" else LLAMA_1B
        self.bert = TINY["bert"] if setting.small else BERT_12M

    def product(self) -> dict[str, float]:
        """Measure the best matrix product, in FLOP/s (see ``measured.products``)."""
        setting = self.setting
        clock = clock_of(setting.threads, setting.device)
        found = measured.products(clock, setting.device, setting.dtype, rounds=setting.rounds)
        self.best = max(found["torch"], found.get("onednn", 0.0))
        return found

    def decoder(self) -> list[dict[str, Any]]:
        """Measure skewed lengths beside the plain loops."""
        return self._plainly(self.llama)

    def encoder(self) -> list[dict[str, Any]]:
        """Measure the same of an encoder."""
        return self._plainly(self.bert)

    def _plainly(self, shape: Shape) -> list[dict[str, Any]]:
        case = self._skewed(shape)
        case.run()
        self.peak = self.peak or self._peak()  # before the padding of the loops, and of the first model only
        case = self._beside(case, LOOPS)
        return [record(case, seconds_of(case, self.setting), self.best)]

    def bfloat16(self) -> list[dict[str, Any]]:
        """Measure the scorer in bfloat16 beside batches of 8 in float32, with what it costs in the scores."""
        plain = self._skewed(self.llama, "float32")
        case = self._skewed(self.llama, "bfloat16")
        loop = LOOPS[EIGHT](plain.scorer.tokens.model, plain.ids())
        case = replace(case, work=f"{case.work}, against float32", loops={EIGHT: loop})
        found = record(case, seconds_of(case, self.setting))
        half, whole = case.run(), plain.run()
        found["difference"] = measured.difference(half, whole)
        found["rank_correlation"] = measured.rank_correlation(half, whole)
        return [found]

    def shared(self) -> list[dict[str, Any]]:
        """Measure several responses of one prompt beside padded batches of 8."""
        count = min(RESPONSES, self.setting.rows)
        lengths = skewed(count, median=SHORT, sigma=SIGMA / 2)
        texts = some_texts(self.vocabulary, lengths, SHARED, shared=True)
        case = Case(f"{count} responses of one prompt of {SHARED} tokens", self.llama, self._scorer(self.llama), texts)
        case = self._beside(case, [EIGHT])
        return [record(case, seconds_of(case, self.setting))]

    def repeated(self) -> list[dict[str, Any]]:
        """Measure rows of which one in five is another one again, beside the same rows scored without knowing that."""
        case = self._skewed(self.bert)
        prompts, responses = texts = repeating(case.texts)
        again = [row for row in range(len(prompts)) if row % REPEATED == REPEATED - 1]
        parts = [[row for row in range(len(prompts)) if row not in again], again]

        def apart() -> None:
            for rows in parts:
                case.scorer([prompts[row] for row in rows], [responses[row] for row in rows])

        case = replace(case, work="one row in five repeated", texts=texts)
        seconds = seconds_of(replace(case, loops={ALL: apart}), self.setting)
        return [record(replace(case, loops={ALL: apart}), seconds)]

    def _peak(self) -> int:
        if self.setting.device == "cpu":
            return peak_bytes()
        return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0

    def _skewed(self, shape: Shape, dtype: str | None = None) -> Case:
        lengths = skewed(self.setting.rows, median=MEDIAN - PROMPT, sigma=SIGMA)
        texts = some_texts(self.vocabulary, lengths, PROMPT)
        return Case("skewed lengths", shape, self._scorer(shape, dtype), texts)

    def _scorer(self, shape: Shape, dtype: str | None = None) -> SequenceScorer:
        model = measured.build(shape, self.setting.device)
        return sequence_scorer(
            model, self.vocabulary, device=self.setting.device, dtype=dtype or self.setting.dtype
        )  # fmt: skip

    def _beside(self, case: Case, names: Iterable[str]) -> Case:
        model, ids = case.scorer.tokens.model, case.ids()
        return replace(case, loops={name: LOOPS[name](model, ids) for name in names})
