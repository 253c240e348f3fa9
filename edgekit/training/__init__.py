"""Training: recipes, the loop, and one function from options to weights (`run.train`)."""
