"""Many boards at once: an inventory of them, and one action carried out on all, carefully."""
