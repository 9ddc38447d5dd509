"""What misbehaves, and what must come of it: the tests and reports/robustness read the same table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Misbehaving:
    """One reward of rewards.py.

    Args:
        name: of the reward.
        does: what it does, in a few words.
        code: the exit code of a run with it.
        says: words that the user sees on stderr, empty where there is nothing to say.
        alone: it is not put into one run with others: they would wait for it, or not be run at all.
    """

    name: str
    does: str
    code: int
    says: str
    alone: bool = False


def unusable(name: str, does: str, says: str, *, alone: bool = False) -> Misbehaving:
    """Return one that cannot be used at all."""
    return Misbehaving(name, does, 3, says, alone)


def faulty(name: str, does: str, says: str, *, alone: bool = False) -> Misbehaving:
    """Return one that fails on rows, or fails a check."""
    return Misbehaving(name, does, 1, says, alone)


def harmless(name: str, does: str, says: str, *, alone: bool = False) -> Misbehaving:
    """Return one that only leaves traces."""
    return Misbehaving(name, does, 0, says, alone)


REWARDS = (
    unusable("too_short", "returns one score too few", "the result has 17 values for 18 rows"),
    unusable("too_long", "returns one score too many", "the result has 19 values for 18 rows"),
    unusable("generator", "returns a generator", "the result is generator"),
    unusable("nothing", "returns None", "the result is NoneType"),
    unusable("text", "returns a string as long as the batch", "the result is str"),
    unusable("texts", "returns numbers as strings", "the result holds str"),
    unusable("booleans", "returns booleans", "the result holds bool"),
    unusable("one_number", "returns one number for all rows", "the result is float"),
    unusable("two_dimensional", "returns a column of a matrix", "array of shape (18, 1)"),
    unusable("no_dimension", "returns an array without dimension", "array of shape ()"),
    unusable("tensor_with_grad", "returns a tensor that requires grad", "requires grad"),
    unusable("no_column_score", "returns a mapping without `score`", "no column 'score' (it has fluency)"),
    unusable("column_too_short", "returns a column of other length", "column 'fluency' has 17 values for 18 rows"),
    unusable("column_of_two_lines", "calls a column by two lines", "a column is called 'two\\nlines'"),
    unusable("unreadable", "returns a list that cannot be read", "cannot be read: RuntimeError: not to be read"),
    unusable("raises_always", "raises on every row", "RuntimeError: always"),
    unusable("raises_a_panic", "raises what is no Exception", "PanicException: called `Option::unwrap()`"),
    unusable("raises_the_unspeakable", "raises an error that has no words", "its message cannot be read"),
    unusable("raises_hostile_words", "raises a megabyte of control characters", "RuntimeError: \ufffd[2J\ufffd</script>xx"),
    unusable("interrupts", "raises KeyboardInterrupt", "KeyboardInterrupt"),
    unusable("writes_to_the_batch", "writes to a column", "'tuple' object does not support item assignment"),
    unusable("writes_to_meta", "writes to the meta of a row", "'mappingproxy' object does not support item assignment"),
    unusable("exits", "calls sys.exit(0)", "SystemExit: 0"),
    unusable("exits_hard", "calls os._exit(0)", "the process exited with 0"),
    unusable("forks_and_dies", "dies while its child holds the pipe", "the process exited with 3"),
    unusable("dies_of_alarm", "sets an alarm that nobody handles", "the process was killed by SIGALRM"),
    unusable("hangs", "sleeps for ever", "no answer within 2 s", alone=True),
    unusable("deadlocks", "waits for a lock that it holds", "no answer within 2 s", alone=True),
    unusable("backtracks", "hangs in a C loop that holds the GIL", "no answer within 2 s", alone=True),
    unusable("build_raises", "raises while it is built", "it could not be built: LookupError: no model here"),
    unusable("build_exits", "calls sys.exit(0) while it is built", "it could not be built: SystemExit: 0"),
    unusable("build_spins", "never returns from build", "it could not be built: no answer within 2 s", alone=True),
    unusable("builds_nothing", "builds no scorer", "build() returned NoneType"),
    faulty("non_finite", "returns nan, inf, 1e400 and a float16 overflow", "non-finite: -inf"),
    faulty("non_finite_tensor", "returns a tensor with a nan", "non-finite: nan"),
    faulty("depends_on_neighbours", "scores by the size of the batch", "canary alone"),
    faulty("raises_on_one_row", "raises on one row", "1 rows failed"),
    faulty("crashes_on_one_row", "crashes (SIGSEGV) on one row", "1 rows failed"),
    faulty("hangs_on_one_row", "sleeps for ever on one row", "1 rows failed", alone=True),
    harmless("odd_column", "calls columns `../../x` and `=1+1|<b>`", ""),
    harmless("keeps_the_batch", "keeps every batch", ""),
    harmless("memory_for_four", "has memory for four rows", "ran out of memory on a batch (scored in smaller ones)"),
    harmless("torch_memory_for_four", "has torch memory for four rows", "ran out of memory on a batch (scored in smaller ones)"),
    harmless("prints", "prints, and writes to fd 1", "printed to stdout or stderr"),
    harmless("floods", "writes 11 MiB to fd 1", "printed to stdout or stderr"),
    harmless("warns", "warns, and filters the warnings of others", "FutureWarning: soon to be removed"),
    harmless("seeds_random", "seeds Python's RNG", "changed the state of Python's random module (restored)"),
    harmless("seeds_numpy", "seeds numpy's RNG", "changed the state of numpy.random (restored)"),
    harmless("changes_the_folder", "changes the working directory", "changed the working directory (restored)"),
    harmless("changes_the_environment", "sets a variable", "changed the environment (LEFT_BEHIND) (restored)"),
    harmless("changes_the_umask", "sets the umask", "changed the umask (restored)"),
    harmless("changes_the_locale", "sets the locale", "changed the locale (restored)"),
    harmless("changes_signal_handlers", "ignores SIGTERM", "changed the handlers of signals (SIGTERM) (restored)"),
    harmless("changes_the_path", "changes sys.path", "changed sys.path (kept: the process is its own)"),
    harmless("changes_torch", "sets torch's dtype, grad mode, threads, seed", "changed torch's default dtype (restored)"),
    harmless("leaves_a_child", "leaves a child", "left processes running (killed)"),
    harmless("leaves_a_thread", "leaves a thread that is no daemon", "left threads running: Thread-1 (sleep) (killed)", alone=True),
    harmless("close_raises", "raises in close()", "close() raised OSError: already closed"),
    harmless("close_hangs", "hangs in close()", "close() did not return within 2 s (killed)", alone=True),
    harmless("close_exits", "calls os._exit(0) in close()", "close() failed: the process exited with 0"),
    Misbehaving("needs_an_option", "has an option without default", 2,  "needs the option 'path'", alone=True),
)  # fmt: skip
