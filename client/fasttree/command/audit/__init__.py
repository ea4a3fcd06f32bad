"""`fasttree audit`: what services wrote down of who did what, shown and verified. It reads their files alone; in come
folders, out go lines, or the first place where a file is not as it was written.
"""
