"""Runs the same cells on two kernels and compares what a person sees of them."""
