"""What several components use: files, commands, waiting, certificates."""
