"""What improves a policy with a score, each in one file that reads top to bottom; the loop they share is ``loop``."""
