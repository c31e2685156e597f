"""`python -m producer`."""

from producer.stopping import signals
from terminal.streams import guarded


def main() -> None:
    """The command line. Signals are taken before the rest is loaded, which takes a while."""
    with guarded():
        signals.take()
        from producer.cli import app

        try:
            app(prog_name="producer")
        except SystemExit as end:
            signals.leave(end.code)
            raise


if __name__ == "__main__":
    main()
