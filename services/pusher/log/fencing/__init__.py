"""Who may write a log: the fence that is a part of it, and what becomes of it by a claim."""
