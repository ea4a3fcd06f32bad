"""Stories that a seed may end with: each makes often what storms bring about once in hundreds of seeds.

None takes a draw from what comes before it, so the rest of a seed's life does not hang on which one ends it.
"""
