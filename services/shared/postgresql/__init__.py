"""How services reach a PostgreSQL server (15 or newer), whatever they keep there.

In come an address, as every client of PostgreSQL takes it, and the file of a password; out go connections to whichever
of its servers takes writes, and what the server's errors mean. What is kept there, and by which transactions, is each
service's own. psycopg is an extra: `names.py` alone does not need it.
"""
