"""What a person looks at while it changes: text with colours that mean something, redrawn in its place.

Lines of styled text come in (`styled.py`), and what reaches the terminal are their characters, spelled out where a
terminal would obey them, with our own colours around. Without a terminal the same lines are plain text.
"""
