"""What is fuzzed, by what it is of."""
