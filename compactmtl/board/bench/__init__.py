"""The measurement itself: timing in turns and what the times say. Runs on the board, too."""
