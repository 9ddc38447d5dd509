"""Trainers with a critic or of pairs. torch is imported where one trains."""

from rmbench.policy import Trainer

TRAINERS: tuple[Trainer, ...] = ()
