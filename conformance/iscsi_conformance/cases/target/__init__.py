"""Cases that judge a target."""
