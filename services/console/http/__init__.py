"""The door: which requests are looked at, by whom they are, and how an answer goes out."""
