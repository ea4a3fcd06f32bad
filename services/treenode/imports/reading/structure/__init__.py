"""The rows of an import file as trees: ids into rows, and every fault between rows."""
