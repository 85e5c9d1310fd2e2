"""The parts that several components use: files, commands, waiting, certificates."""
