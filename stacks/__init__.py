"""The infrastructure in CDK for Terraform; each part has a file."""

from stacks import provider as _provider  # noqa: F401  (first: it makes the imports of all others cheap)
