"""Questions to the tree, and answers as tables, CSV or JSON."""
