"""CBLDATATRAX: the configuration file of DataTrax, whose section [FastTree] says where each environment's cluster is.

In comes the text of a file as companies have it: `lines.py` takes it apart, `keys.py` knows what each key may be, and
`configuration.py` puts the values together by environment. Out go the faults, each with its line and the mend
(`checks.py`), what every key comes to (`explanation.py`), and the files of a cluster for one environment
(`conversion.py`).
"""
