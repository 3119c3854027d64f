"""The commands: arguments in, one call, output. Nothing heavy is imported before a command runs."""
