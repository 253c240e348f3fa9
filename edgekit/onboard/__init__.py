"""All code that runs on a board. It needs Python 3.9 and imports nothing else of edgekit."""
