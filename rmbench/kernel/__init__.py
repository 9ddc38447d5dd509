"""Batched scoring of texts: rules and models, on arrays and strings, without tasks."""
