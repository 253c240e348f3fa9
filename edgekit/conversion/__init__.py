"""`edgekit convert`: one trained model in, artifacts that are proven to compute it out."""
