"""The studio: a reference video-generation platform that runs real pipelines and reports on all of it."""
