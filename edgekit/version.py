"""The version of edgekit, for whoever stands below `edgekit/__init__.py`."""

__version__ = "0.1.0"
