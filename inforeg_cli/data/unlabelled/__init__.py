"""Recordings without labels, decoded as the clips of a prepared dataset were."""
