"""Commands for a company that comes from DataTrax: its configuration, checked, explained and turned into ours."""
