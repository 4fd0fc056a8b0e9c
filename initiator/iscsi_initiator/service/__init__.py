"""The initiator service: what it is asked (`api`), and how requests reach it (`client`, `listener`)."""
