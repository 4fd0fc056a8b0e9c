"""The command line of the initiator service: the commands of the guide's Appendix C."""
