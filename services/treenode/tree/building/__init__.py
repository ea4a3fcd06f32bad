"""A tree from a table of rows: numbered, laid out, summed up; and laid out anew later."""
