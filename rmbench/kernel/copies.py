"""Extractive fragments, compiled: the search of ``bags.fragments`` where pairs of words repeat often."""

import numpy as np

from rmbench.kernel.compiled import compiled


@compiled
def lengths(summary, article, entries, following):
    """Return the length of each fragment of a summary, in order: int64.

    Args:
        summary: words as int32, (n,).
        article: the same, (m,).
        entries: int64, (n,); the first place of the article where the word of the summary and the one behind it stand,
            -1 where only the word does, -2 where it does not.
        following: int64, (m,); the next place with the same two words, -1 at the last one.
    """
    found, count, start = np.empty(summary.size, np.int64), 0, 0
    while start < summary.size:
        most, free, place = int(entries[start] >= -1), 0, entries[start]
        while place >= 0:
            if place >= free:
                length, limit = 2, min(summary.size - start, article.size - place)
                while length < limit and summary[start + length] == article[place + length]:
                    length += 1
                most, free = max(most, length), place + length
            place = following[place]
        if most > 0:
            found[count] = most
            count += 1
        start += max(most, 1)
    return found[:count]
