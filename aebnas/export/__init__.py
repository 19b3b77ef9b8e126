"""A chosen network as a folder that runs without aebnas: the bundle, its model card, its command and API."""
