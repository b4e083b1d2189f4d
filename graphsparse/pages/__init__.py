"""Pages: each one file that stands alone, made of sections.

A section is plain data, a template and scripts (`sections`); `render` writes a page into one file. `alerts`, `table`, `lines` and
`reproduction` make sections that any page may have. What a page is of is known above: `graphsparse.reports.page`, `graphsparse.runs`.
"""
