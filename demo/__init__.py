"""The main job: honest and cheating provers of a real sentence encoder on a local chain."""
