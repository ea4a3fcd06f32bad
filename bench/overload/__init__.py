"""What callers do to servers by asking too much, and what it costs to hold them to their limits."""
