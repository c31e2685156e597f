"""`python -m consumer`."""

from consumer.cli import app

if __name__ == "__main__":
    app(prog_name="consumer")
