"""Checks of option values, shared by the built-in rewards: the kernel's."""

from rmbench.kernel.checks import choice, flag, whole

__all__ = ["choice", "flag", "whole"]
