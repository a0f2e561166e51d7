"""A site's audit log: a record of what matters for security, to which is only added, and which can be checked later.

`log` takes events from any thread and has them written by `scribe`, in `segments` of the data folder; `chain` holds the
rules that make a changed one noticed; `recovery` is what a start finds, by what `anchor` remembers outside the folder,
and `oddities` what is said of it; `verification` is what an auditor does.
"""
