"""The mathematics of the methods as pure functions, tensors in and tensors out."""
