"""What a tool is, and one call's way through it: arguments in, a model or a coded failure out."""
