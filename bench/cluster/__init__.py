"""Whole clusters to measure: started, loaded with reads, and judged."""
