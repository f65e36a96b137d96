"""Cells and what they show: outputs, widgets, questions, and what was missed."""
