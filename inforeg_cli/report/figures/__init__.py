"""The pictures of the paper, and those of a run."""
