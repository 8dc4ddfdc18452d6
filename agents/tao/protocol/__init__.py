"""The game as pure functions: a view of the chain goes in, the next actions come out.

Nothing here touches the chain, a disk or torch, so every rule can be tested exhaustively.
"""
