"""`python -m consumer`."""

from consumer.cli import app
from terminal.streams import guarded


def main() -> None:
    """The command line."""
    with guarded():
        app(prog_name="consumer")


if __name__ == "__main__":
    main()
