"""Reward models: their options, losses and training, and the checkpoints that they leave.

Importing this package imports neither torch nor numpy: each module is imported where it is needed.
"""
