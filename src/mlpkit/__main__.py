"""``python -m mlpkit`` is the command ``mlpkit``."""

from mlpkit.cli import main

if __name__ == "__main__":
    main()
