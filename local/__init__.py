"""The embedded AWS on which the demo and the tests run. No package of the product imports it."""
