"""Random work over one to four connections, with losses and damage that are recovered from, held against a model."""
