"""The command line: thin verbs, put together in `main`; what they do lies in the rooms that they call."""
