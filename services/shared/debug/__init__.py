"""The logs that people look at in a browser: their last lines, and each line as it is written.

In come lines (`debug_log.py` keeps them in a file of bounded size); out go pages (`pages.py`) for as many as may follow
(`broadcast.py`). Where a log's lines come from, the pages don't know: a file, or several machines (`LineSource`).
"""
