"""From raw recordings to training-ready data: recipes, sources, decoding and the store."""
