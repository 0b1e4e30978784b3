"""The stages of a video, one a file. `rushes.studio.pipeline` says in which order."""
