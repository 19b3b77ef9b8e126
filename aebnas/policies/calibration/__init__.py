"""Temperatures and reliability, and policies for a goal or with a risk guarantee."""
