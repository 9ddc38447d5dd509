"""Sequence-classification models, batched: tokens in, one score per row out, whatever stands beside a row."""
