"""Kernels are compiled before anybody waits for them."""
