"""Generated dialogues between the bundled pair in which something goes wrong, each held against what must hold for all."""
