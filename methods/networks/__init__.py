"""Networks, losses and random walks in torch, and the backbones under them, for components to import in functions.

Nothing here knows a component, a suite or a file of the store.
"""
