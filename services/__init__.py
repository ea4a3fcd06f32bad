"""The three FastTree services, and what they share."""
