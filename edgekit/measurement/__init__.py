"""`edgekit bench` and `compare`: times measured on real devices, and what they allow to say."""
