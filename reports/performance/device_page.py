"""The section on a CUDA device, from what device.py measured there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

AIM, RULE_ROWS = 0.45, (256, 4096, 65_536)
NAMES = {"counts": "ROUGE-1 and -2", "lcs": "ROUGE-L", "all": "all three"}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section; every number is one of ``found``."""
    machine = found["machine"]
    yield from (f"## On a device: {machine['device']}", "")
    yield (
        f"`python reports/performance/device.py`, torch {machine['torch']}, transformers {machine['transformers']}: "
        "medians of five rounds. Useful FLOPs leave out padding and count a shared prompt in each of its rows; the "
        f"peak is {machine['peak_flops_per_second'] / 1e12:.0f} TFLOP/s in bfloat16, of which a plain matrix product "
        f"reached {machine['matrix_product_flops_per_second'] / 1e12:.0f} here. Llama-like classifiers, random "
        "weights, log-normal lengths of median 85."
    )
    yield ""
    yield from _models(found["models"])
    yield from _rules(found["rules"])


def _models(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| model | work | rows/s | useful TFLOP/s | share of the peak | mark |"
    yield "| --- | --- | ---: | ---: | ---: | --- |"
    for model in models:
        name = f"{model['parameters'] / 1e9:.2f} billion parameters"
        for kind, rows in (("skewed lengths", model["skewed"]), ("16 responses a prompt", model["prompts"])):
            for row in rows:
                asked = kind == "skewed lengths" and row["way"].startswith("packed")
                mark = ("met" if row["share_of_peak"] >= AIM else f"**below {AIM}**") if asked else ""
                yield (
                    f"| {name} | {kind}, {row['way']}{' tokens a batch' if asked else ''} | "
                    f"{row['rows_per_second']:,.0f} | {row['useful_flops_per_second'] / 1e12:.0f} | "
                    f"{row['share_of_peak']:.3f} | {mark} |"
                )
    yield ""
    for model in models:
        half, shared = model["bfloat16"], model["prompts"][0]["shared_difference"]
        yield (
            f"- {model['parameters'] / 1e9:.2f} billion parameters: bfloat16 is at most {half['largest']:.2f} standard "
            f"deviations of the scores from float32 (median {half['median']:.3f}, rank correlation "
            f"{half['spearman']:.4f}); padded batches of 8 in bfloat16 are {half['padded_largest']:.2f} away. "
            f"Sharing prompts moves a score by at most {shared:.4f}."
        )
    yield ""


def _rules(rules: Mapping[str, Any]) -> Iterator[str]:
    equal = all(row["equal"] for row in rules["measured"])
    yield (
        "`kernel.score_ids` over rows of 256 ids that lie on the device; the host's path includes the copy. "
        f"{'Every score is equal bit for bit to the host path.' if equal else '**Scores differ from the host path.**'}"
    )
    yield from ("", "| rules | rows | device, rows/s | host, rows/s | device is faster from |")
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row in rules["measured"]:
        if row["rows"] in RULE_ROWS:
            speed = row["rows_per_second"]
            yield (
                f"| {NAMES[row['rules']]} | {row['rows']:,} | {speed['device']:,.0f} | {speed['host']:,.0f} | "
                f"{rules['crossover'][row['rules']]:,} rows |"
            )
    yield ""
