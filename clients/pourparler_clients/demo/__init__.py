"""The main job, shown with real processes: talk through a blind service, expire, and look for what is left."""
