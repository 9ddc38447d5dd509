"""Models, batched: tokens in, one score or log-probability per row out, whatever stands beside a row."""
