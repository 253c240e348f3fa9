"""`edgekit bench` on a virtual board: outputs and instruction counts, no time."""
