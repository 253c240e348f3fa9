"""One trained PyTorch model in; proven, measured artifacts for small machines out."""

__version__ = "0.1.0"
