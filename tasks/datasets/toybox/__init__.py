"""Toybox, the embedded data set: scenes drawn from a seed, any index at once, no files.

chance.py -> scenes.py -> drawing.py gives the picture; phrases.py -> questions.py -> asking.py the
questions about the scene; vqa.py makes samples of both. Version `toybox-1`: what is drawn never
changes under that name.
"""

VERSION = "toybox-1"
