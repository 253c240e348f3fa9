"""Which runtime a board gets, and in which wheels."""
