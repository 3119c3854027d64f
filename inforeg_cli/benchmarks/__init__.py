"""What preparing and reading cost, beside what else could be done with the same files."""
