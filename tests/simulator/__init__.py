"""A seeded simulator of whole clusters: real cores, virtual time, and a world that fails in every way it can."""
