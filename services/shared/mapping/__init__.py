"""Files as a company has them: another separator, other names, days and numbers written another way.

A file and a mapping enter; the same rows, each on its line, leave in the form that every import has
(`docs/imports.md`). What reads imports knows that one form alone.
"""
