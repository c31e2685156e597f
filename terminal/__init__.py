"""What every command line of this project does with its terminal."""
