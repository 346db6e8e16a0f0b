"""`make demo`: the main job on a real node, told as it happens, with every figure checked."""
