"""A selected network as a folder that runs without aebnas: model, policy, model card, command and API."""
