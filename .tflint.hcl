# What `make scan` asks of the synthesised HCL. The rules for AWS know which values each argument takes.
plugin "aws" {
  enabled = true
}

plugin "terraform" {
  enabled = true
  preset  = "recommended"
}
