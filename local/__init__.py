"""The embedded AWS that the demo and the tests run on. Nothing of the product imports it."""
