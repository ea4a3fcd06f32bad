"""PostgreSQL doing the same jobs, with and without standbys."""
