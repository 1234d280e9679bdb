"""Reading mail: hostile bytes in, clean `records.ParsedMessage` out, always, within fixed bounds.

`bounded` is what the sync engine calls: it parses in a child process with limits. `message` is the parser itself.
"""
