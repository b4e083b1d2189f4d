"""``python -m graphsparse``."""

from graphsparse.cli import main

if __name__ == "__main__":
    main()
