"""`python -m producer`."""

from producer.cli import app

if __name__ == "__main__":
    app(prog_name="producer")
