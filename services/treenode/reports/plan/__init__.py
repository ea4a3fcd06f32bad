"""What a request asks for: its columns, tree, volume, filter, order and page, checked against what the tree has.

A request's options, filter, sort key and page token enter, with the tree's catalogue. A `Choice`, a `RowFilter`, a
`Sort` and a `PageKey` leave, or an InvalidArgumentError that names the field and what may stand there. No tree is read.
"""
