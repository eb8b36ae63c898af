"""`python -m harness` is `harness`."""

from .cli import main

if __name__ == "__main__":
    main()
