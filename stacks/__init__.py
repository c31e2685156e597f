"""The infrastructure, in CDK for Terraform; a file for each part of it."""

from stacks import provider as _provider  # noqa: F401  (first: it makes the imports of all others cheap)
