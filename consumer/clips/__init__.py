"""The seconds around an event, as pictures and as a film."""
