"""Toybox, the embedded data set: scenes drawn from a seed, any index at once, no files.

chance.py -> scenes.py -> drawing.py gives a picture, clips.py -> filming.py a clip. What is said of
them, and read back for the oracle:
- questions: phrases.py -> questions.py -> asking.py; vqa.py makes samples of them
- captions: describing.py, describing_facts.py, binding.py; captions.py, retrieval.py
- expressions: referring.py; expressions.py
- questions with reasons: reasoning.py, justifying.py; vcr.py
- events of clips: clip_voices.py, narrating.py; video_captions.py, video_retrieval.py, moments.py
Version `toybox-1`: what is drawn and said never changes under that name.
"""

VERSION = "toybox-1"
