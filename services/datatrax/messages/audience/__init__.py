"""Who gets a message, and what is in it: a message in, its letters out."""
