"""``make demo``: the main job of Syncret from end to end, told as it is seen to happen."""
