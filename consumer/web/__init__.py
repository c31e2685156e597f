"""The live page: `consumer web`."""
