"""`python -m consumer`."""

from terminal.streams import guarded


def main() -> None:
    """The command line. The rest is loaded within it, for Ctrl-C may come at any time."""
    with guarded():
        from consumer.cli import app

        app(prog_name="consumer")


if __name__ == "__main__":
    main()
