"""From a recipe to a store: looking at the raw files, decoding them in processes, and keeping what is done."""
