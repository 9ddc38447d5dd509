"""The metrics that come with rmbench, by name: what each measures, its range and direction.

The agree study computes them itself, so ``statistic`` is None; a plugin's metric brings its own.
"""

from __future__ import annotations

from rmbench.api import Metric

METRICS: tuple[Metric, ...] = (
    Metric(
        "pairwise-accuracy",
        1,
        ("pair",),
        doc="Share of the pairs people order that the reward orders alike; a tie of the reward is one half; 0 "
        "to 1, chance 0.5.",
    ),
    Metric(
        "pairwise-accuracy-strict",
        1,
        ("pair",),
        doc="Pairwise accuracy in which a tie of the reward is wrong; 0 to 1, higher is better.",
    ),
    Metric(
        "top1-accuracy",
        1,
        ("sample",),
        doc="How often the reward's top text of a sample is among the best by people; ties at the top share; 0 to 1.",
    ),
    Metric(
        "acc-eq",
        1,
        ("sample",),
        doc="Pairwise accuracy that credits ties, with one fitted tie threshold for the task (Deutsch et al. "
        "2023); 0 to 1.",
    ),
    Metric(
        "acc-eq-threshold",
        1,
        ("sample",),
        doc="The difference of scores up to which acc-eq calls two texts tied, in units of the reward.",
    ),
    Metric(
        "kendall",
        1,
        ("sample", "pooled", "system"),
        doc="Kendall's tau-b with human scores; -1 to 1, higher is better.",
    ),
    Metric(
        "spearman",
        1,
        ("sample", "pooled", "system"),
        doc="Spearman's rank correlation with human scores; -1 to 1, higher is better.",
    ),
    Metric(
        "pearson",
        1,
        ("sample", "pooled", "system"),
        doc="Pearson's linear correlation with human scores; -1 to 1, higher is better.",
    ),
    Metric(
        "soft-pairwise-accuracy",
        1,
        ("system",),
        doc="How near the p-values of system differences are to those by people (Thompson et al. 2024); 0 to "
        "1, higher is better.",
    ),
    Metric(
        "system-accuracy",
        1,
        ("system",),
        doc="Share of the pairs of systems people order that the reward's mean orders alike; a tie is one "
        "half; 0 to 1.",
    ),
    Metric(
        "precision",
        1,
        ("pooled",),
        doc="Share of the texts above a threshold fitted on a disjoint half that are high-quality ones; 0 to 1.",
    ),
    Metric(
        "recall",
        1,
        ("pooled",),
        doc="Share of the high-quality texts above a threshold fitted on a disjoint half; 0 to 1.",
    ),
    Metric(
        "f1",
        1,
        ("pooled",),
        doc="Harmonic mean of precision and recall at a threshold fitted on a disjoint half; 0 to 1, higher is better.",
    ),
    Metric(
        "accuracy",
        1,
        ("pooled",),
        doc="Share of the texts on the right side of a threshold fitted on a disjoint half; 0 to 1, higher is better.",
    ),
    Metric(
        "auroc",
        1,
        ("pooled",),
        doc="Probability that a high-quality text scores above another, ties one half; 0 to 1, chance 0.5.",
    ),
    Metric(
        "rm-bench-average",
        1,
        ("pair",),
        doc="Mean of the strict accuracies on easy, normal and hard pairs of a domain, and of the domains; 0 to 1.",
    ),
    Metric(
        "rewardbench-average",
        1,
        ("pair",),
        doc="RewardBench's sections with its weights, and their mean, prior sets by half; strict accuracy, 0 to 1.",
    ),
    Metric(
        "rewardbench2-average",
        1,
        ("sample",),
        doc="RewardBench 2's subsets (top-1 of four, and its Ties score), and their mean; 0 to 1.",
    ),
    Metric(
        "brier",
        1,
        ("pair",),
        doc="Mean squared error of the Bradley-Terry probability that the preferred text wins; 0 to 1, lower is "
        "better, 0.25 says nothing.",
    ),
    Metric(
        "calibration-error",
        1,
        ("pair",),
        doc="How far accuracy is from that probability, over ten bins of confidence (ECE); 0 to 1, lower is "
        "better, biased upwards.",
    ),
    Metric(
        "temperature",
        1,
        ("pair",),
        doc="The T of sigmoid(margin / T) that is most likely on a seeded half of the prompts, in units of the reward; "
        "above 0.",
    ),
    Metric(
        "brier-scaled",
        1,
        ("pair",),
        doc="Brier score at the fitted temperature, on the half that it was not fitted on; 0 to 1, lower is better.",
    ),
    Metric(
        "calibration-error-scaled",
        1,
        ("pair",),
        doc="Calibration error at the fitted temperature, on the half that it was not fitted on; 0 to 1, lower is "
        "better.",
    ),
    Metric(
        "margin-accuracy",
        1,
        ("pair",),
        doc="Pairwise accuracy by the size of the reward's margin, in fifths of the pairs (subsets margin:1/5 to "
        "margin:5/5); 0 to 1.",
    ),
    Metric(
        "margin-confidence",
        1,
        ("pair",),
        doc="Mean confidence sigmoid(margin) in each fifth of the margins; 0.5 to 1, calibrated where it equals "
        "margin-accuracy.",
    ),
    Metric(
        "margin-confidence-scaled",
        1,
        ("pair",),
        doc="Mean confidence at the fitted temperature in each fifth of the margins; 0.5 to 1.",
    ),
    Metric(
        "margin-edge",
        1,
        ("pair",),
        doc="The greatest margin of each fifth of the margins, in units of the reward.",
    ),
    Metric(
        "margin-over-null",
        1,
        ("pair", "pooled"),
        doc="The task's headline metric less that of the best null reward; above 0 beats every ruler.",
    ),
)
DOCS: dict[str, str] = {metric.name: metric.doc for metric in METRICS}
