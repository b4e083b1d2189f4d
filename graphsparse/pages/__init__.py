"""Pages: each is one file that stands alone, made of sections (`sections`), and written by `render`."""
