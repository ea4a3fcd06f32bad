"""Files that travel and that last: cut into checked chunks, fetched from whoever has them, put together again."""
