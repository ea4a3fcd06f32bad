"""Fixed-width records of COBOL programs: a layout says which bytes are which field, and each becomes a text.

In comes a layout (TOML, `layout.py`) with its fields' pictures (`pictures.py`), and records as a program wrote them, in
ASCII or EBCDIC. Out go texts by the fields' names, or what is wrong with a record: the field, its bytes and the mend.
"""
