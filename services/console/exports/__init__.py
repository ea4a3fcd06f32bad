"""Tables for spreadsheets: CSV and Excel. In come rows as members have them, out go cells in which nothing is a
formula, whatever somebody has as a name.
"""
