"""The oracle: what must become of each record of spend.usage, worked out one record at a time.

It shares with the pipeline the schemas, the rate data and what the documents say; none of the code that decodes,
checks, prices or drops repeats.
"""
