"""``python -m dhflow``: the command line."""

from dhflow.cli.main import main

if __name__ == "__main__":
    main()
