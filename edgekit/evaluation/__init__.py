"""`edgekit predict` and `evaluate`: answers to images, and how often they are right."""
