"""The rule book's own captures: for each rule a dialogue that breaks it and one that only nearly does."""
