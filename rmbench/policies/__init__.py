"""What generates: policies that are trained, and how they write.

Importing this package imports neither torch nor numpy: each module is imported where it is needed.
"""
