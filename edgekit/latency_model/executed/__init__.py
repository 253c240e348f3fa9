"""`--method executed`: what the emulated board executes, times a model of its core."""
