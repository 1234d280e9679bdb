"""A stand-in for the providers' servers, over real HTTP on loopback. It is a program of its own: it imports nothing
of the product and needs nothing but Python. See README.md for what it imitates and how to drive it."""
