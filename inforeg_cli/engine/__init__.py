"""The training loop and what it needs; it knows no method's name."""
