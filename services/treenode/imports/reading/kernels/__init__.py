"""Kernels that read text: lines into fields, fields into numbers and codes."""
