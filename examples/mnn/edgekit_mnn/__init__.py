"""MNN as a backend of edgekit."""
