"""Jupyter kernels measured side by side; the command is ``kernel_bench.py``."""
