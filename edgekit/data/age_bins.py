"""Ages in years and Adience's eight age groups."""

from __future__ import annotations

from edgekit.data.dataset import UNLABELLED

ADIENCE_BINS = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 200))
"""First and last year of each group, as the label files print them: 8-12, where the paper prints
8-13. Thirteen is therefore in no group. The last group is open (its label says 60-100)."""


def strict_age_class(years: int) -> int:
    """Return the index of the group that holds an age in whole years, or UNLABELLED."""
    for index, (first, last) in enumerate(ADIENCE_BINS):
        if first <= years <= last:
            return index
    return UNLABELLED
