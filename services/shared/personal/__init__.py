"""Values of personal columns, apart from the tree: a vault at the pusher, and copies of it at the nodes.

Values enter, tokens leave: in logs, files and trees a token stands in a value's place (decision 21, in docs/decisions).
Who has a token and the right gets the value; once a member is erased, nobody does. `vault.py` is the file, `tokens.py`
what a token is made of, `rows.py` takes the values out of an import file. Where a process has keys, the file is sealed:
`row_forms.py` says how a row is, `generations.py` by what, `moving.py` and `tending.py` how it follows another key,
`needed.py` which keys a file needs. `beside.py` says where SQLite may have files of its own meanwhile.
"""
