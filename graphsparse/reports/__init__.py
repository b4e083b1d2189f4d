"""Results as people read them: data frames, terminal tables, pages."""
