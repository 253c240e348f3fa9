"""What receives bundles on a board: copied there as one file and run by its Python.

Python 3.9 and its standard library only, and nothing else of edgekit, so that a board needs no
installation. The host reads bundles with the same code (`archive`).
"""

from __future__ import annotations


class Refused(Exception):
    """A request that is not carried out; the message is one line with the remedy."""
