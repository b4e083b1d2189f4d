"""The page of a report. `build` says which sections it has; each is made by a module of its own."""
