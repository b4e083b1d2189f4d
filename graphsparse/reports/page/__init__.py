"""The page of a report: one file that stands alone, made of sections.

A section is plain data, a template and a script (`sections`). `build` chooses the sections of a report, each made by a module
of its own; `render` writes them into one file. Another page is another list of sections.
"""
